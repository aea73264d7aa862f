"""The template: what one instance runs, how it is watched, restarted, stopped, and where it may run.

Deployment and Instance share it. Only a change of the template restarts anything, so a field that must be
changeable on a running instance does not belong here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from plum_schemas.affinity import Affinity, LabelSelectorSpec
from plum_schemas.base import Struct
from plum_schemas.markers import SET, ListMap
from plum_schemas.probes import Lifecycle, Probes
from plum_schemas.reservation import Reservation
from plum_schemas.scalars import Duration, Label, Name, NonNegative, PortRef, Quantity

Protocol = Literal["http", "https", "grpc", "tcp", "udp"]


class TemplateMetadata(Struct):
    """Labels and annotations of the instances."""

    labels: dict[str, str] = {}
    """Labels every instance gets; selectors of services find it by them."""
    annotations: dict[str, str] = {}
    """Annotations every instance gets."""


class ArtifactSource(Struct):
    """The package to run: an Artifact of this namespace by name and version, or any zip by address and checksum."""

    name: str = ""
    """Application name of an Artifact in this namespace."""
    version: str = ""
    """Version of that Artifact."""
    url: str = ""
    """Address of a zip, instead of name and version."""
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """Checksum in hexadecimal; every node checks it. Required with url."""


class KeyRef(Struct):
    """One key of a Secret or ConfigMap in the same namespace."""

    name: Name
    """Name of the Secret or ConfigMap."""
    key: Annotated[str, Meta(min_length=1, max_length=253)]
    """Key inside it."""
    optional: bool = False
    """Start without the variable when the object or the key is missing."""


class KVKeyRef(Struct):
    """A key of the key-value store in the same namespace."""

    key: Annotated[str, Meta(min_length=1, max_length=1024)]
    """The key, as `plum get kvs` shows it."""
    optional: bool = False
    """Start without the value when the key is missing."""


class FieldRef(Struct):
    """A field of the instance itself."""

    field_path: Annotated[str, Meta(min_length=1)]
    """Such as `metadata.name`, `metadata.namespace`, `metadata.labels['app']`, `spec.nodeName`."""


class EnvSource(Struct):
    """Where the value of a variable comes from. Exactly one is set."""

    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""
    kv_key_ref: KVKeyRef | None = None
    """A key of the key-value store."""
    field_ref: FieldRef | None = None
    """A field of the instance."""


class EnvVar(Struct):
    """One environment variable."""

    name: Annotated[str, Meta(min_length=1, max_length=253, pattern="^[^=\\x00]+$")]
    """Name of the variable."""
    value: str = ""
    """Its value. `$(OTHER)` is replaced by a variable defined before it."""
    value_from: EnvSource | None = None
    """Where the value comes from, instead of `value`."""


class ObjectRef(Struct):
    """A whole Secret or ConfigMap in the same namespace."""

    name: Name
    """Name of the Secret or ConfigMap."""
    optional: bool = False
    """Start without it when it is missing."""


class EnvFrom(Struct):
    """All keys of an object as environment variables. Exactly one reference is set."""

    prefix: str = ""
    """Put before each name."""
    secret_ref: ObjectRef | None = None
    """A Secret."""
    config_map_ref: ObjectRef | None = None
    """A ConfigMap."""


class FileSource(Struct):
    """Where the content of a file comes from. Exactly one is set."""

    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""
    kv_key_ref: KVKeyRef | None = None
    """A key of the key-value store."""


class ConfigFile(Struct):
    """A file that is written before every start. Exactly one of value, valueFrom, secretRef and configMapRef is set."""

    path: Annotated[str, Meta(min_length=1, max_length=1024)]
    """Where, relative to the unpacked artifact or the folder the command starts in. For a whole object: a folder, with a file
    for each key."""
    value: str | None = None
    """Its content."""
    value_from: FileSource | None = None
    """Where its content comes from."""
    secret_ref: ObjectRef | None = None
    """All keys of a Secret."""
    config_map_ref: ObjectRef | None = None
    """All keys of a ConfigMap."""
    mode: Annotated[str, Meta(pattern="^0?[0-7]{3}$")] = "0600"
    """Permissions in octal; the files belong to the user of the workload."""


class Port(Struct):
    """A port the workload listens on. It is passed as `PORT` (the first) and `PORT_<NAME>`."""

    name: Label
    """Name of the port, for probes and services."""
    port: Annotated[int, Meta(ge=0, le=65535)]
    """Number the workload listens on; 0 lets the agent choose a free one."""
    protocol: Protocol = "tcp"
    """What is spoken there: http, https, grpc, tcp or udp; tcp if absent."""
    host_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """Number on the node for a container with a network of its own; the same as `port` if absent."""


class ServicePort(Struct):
    """A service this workload offers on one of its ports while it is ready."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    """Name clients resolve."""
    port: PortRef
    """Port by number or by name."""
    protocol: str = ""
    """What is spoken there; the protocol of the port if absent."""
    version: str = ""
    """Version clients may ask for."""
    weight: Annotated[int, Meta(ge=0, le=1000)] = 100
    """Share of requests against other endpoints of the service; 100 if absent, 0 takes none."""
    labels: dict[str, str] = {}
    """Labels of the endpoints."""


class Resources(Struct):
    """What one instance needs and what it may use."""

    requests: dict[str, Quantity] = {}
    """Reserved on the node: `cpu`, `memory`, or any resource that nodes announce."""
    limits: dict[str, Quantity] = {}
    """Most it may use: `cpu`, `memory`, for containers also `pids`. Condition ResourceLimits: does the node enforce them?"""
    devices: Annotated[list[str], SET] = []
    """Devices of the node it holds alone, by the names in the node's `status.devices`."""


class Backoff(Struct):
    """How long the agent waits before it starts a run again."""

    initial: Duration = "1s"
    """Wait before the first restart."""
    factor: Annotated[float, Meta(ge=1)] = 2.0
    """Each wait is this many times the one before."""
    max: Duration = "5m"
    """Longest wait."""
    reset_after: Duration = "10m"
    """A run that lasted this long makes the next wait start from `initial` again."""


class ExitCodeRule(Struct):
    """What one set of exit codes means. The first rule that matches decides, before `restartPolicy`."""

    codes: list[int]
    """Exit codes; a run ended by a signal has 128 + its number."""
    operator: Literal["In", "NotIn"] = "In"
    """In: the code is listed. NotIn: it is not. In if absent."""
    action: Literal["Restart", "Fail", "Succeed"]
    """Restart on this node, or end the instance as Failed or Succeeded."""


class Toleration(Struct):
    """A taint this instance accepts."""

    key: str = ""
    """Key of the taint; empty with operator Exists accepts every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists accepts any value. Equal if absent."""
    value: str = ""
    """Value of the taint, with operator Equal."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Effect of the taint; every effect if absent."""
    toleration_seconds: int | None = None
    """With NoExecute: seconds the instance stays after the taint appeared; for ever if absent."""


class TopologySpread(Struct):
    """Spread instances evenly over the values of a node label."""

    topology_key: Annotated[str, Meta(min_length=1)]
    """Node label whose values are the groups, such as `zone`."""
    max_skew: Annotated[int, Meta(ge=1)] = 1
    """Largest difference in the number of instances between two groups; 1 if absent."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "DoNotSchedule"
    """DoNotSchedule waits, ScheduleAnyway only prefers. DoNotSchedule if absent."""
    label_selector: LabelSelectorSpec | None = None
    """Instances that count; those of the same Deployment if absent."""


class Disconnect(Struct):
    """What happens when the node of an instance is lost and when it comes back."""

    replace: bool = True
    """Start a replacement on another node once the node is lost."""
    lost_after: Duration | None = None
    """How long after the last renewal of its lease the node counts as lost; never less than one lease, which is the default."""
    reconcile: Literal["keepOriginal", "keepReplacement", "longestRunning"] = "keepOriginal"
    """Which of two copies stays when the node comes back."""


class Mount(Struct):
    """A path of the node inside a container. A process sees the node's paths anyway."""

    target: Annotated[str, Meta(min_length=1, pattern="^/")]
    """Absolute path inside the container."""
    source: Annotated[str, Meta(min_length=1)]
    """Path on the node; a relative one is below the instance's own folder."""
    read_only: bool = False
    """The workload cannot write there."""


class SecretName(Struct):
    """A Secret in the same namespace."""

    name: Name
    """Name of the Secret."""


class Capabilities(Struct):
    """Capabilities of the kernel, without the prefix `CAP_`, beyond or below what the engine gives by itself."""

    add: Annotated[list[str], SET] = []
    """Given in addition, such as `NET_ADMIN`; `ALL` gives all."""
    drop: Annotated[list[str], SET] = []
    """Taken away; `ALL` takes all but those in `add`."""


class SeccompProfile(Struct):
    """Which system calls are allowed."""

    type: Literal["RuntimeDefault", "Unconfined"] = "RuntimeDefault"
    """RuntimeDefault: those of the engine's own profile. Unconfined: all."""


class SecurityContext(Struct):
    """What a container may do. A process may do what its user may."""

    read_only_root_filesystem: bool = False
    """The workload cannot write into its image; mounts stay as they are."""
    allow_privilege_escalation: bool = False
    """Programs may gain more rights than their parent, by setuid bits or file capabilities."""
    capabilities: Capabilities = field(default_factory=Capabilities)
    """Changes to the engine's default set."""
    seccomp_profile: SeccompProfile = field(default_factory=SeccompProfile)
    """Filter of system calls."""


class LogFiles(Struct):
    """How much output of the workload is kept on the node."""

    max_size: Quantity = "10Mi"
    """Size at which a file is rotated, in bytes."""
    max_files: Annotated[int, Meta(ge=1, le=100)] = 5
    """Files kept of each run, the current one included."""


class Template(Struct):
    """What one instance runs, how it is watched, restarted and stopped, and where it may run."""

    metadata: TemplateMetadata = field(default_factory=TemplateMetadata)
    """Labels and annotations of the instances. A change of them restarts nothing."""
    runtime: Literal["process", "container"] = "process"
    """process runs on the node itself, container in a container of `image`."""
    artifact: ArtifactSource | None = None
    """Package to unpack and run; its entry (`start.sh`) is the default command."""
    image: str = ""
    """Container image, such as `demo:1`. With an artifact: the base image it is unpacked over, the node's own if absent."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the image is fetched from its registry. Never: only what the node has, or finds in its folder of image files."""
    image_pull_secrets: Annotated[list[SecretName], ListMap("name")] = []
    """Secrets with the credentials of registries."""
    command: list[str] = []
    """Program and arguments. A single string is split as a shell would, without a shell."""
    env: Annotated[list[EnvVar], ListMap("name")] = []
    """Environment variables. A map from name to value is accepted."""
    env_from: list[EnvFrom] = []
    """Objects all of whose keys become variables. Those of `env` win; of the same name here the last one does."""
    files: Annotated[list[ConfigFile], ListMap("path")] = []
    """Configuration and secrets as files. A map from path to content is accepted."""
    working_dir: str = ""
    """Folder the command starts in; a relative one is below the unpacked artifact."""
    user: str = ""
    """User it runs as, `name` or `uid[:gid]`; the agent's own if absent."""
    ports: Annotated[list[Port], ListMap("name")] = []
    """Ports it listens on. Two instances with the same port do not share a node."""
    services: Annotated[list[ServicePort], ListMap("name")] = []
    """Services it offers while it is ready."""
    network: Literal["host", "private", "none"] = "host"
    """host: a container shares the network of the node, as a process does. private: it has its own and publishes `ports`.
    none: it has no network."""
    mounts: Annotated[list[Mount], ListMap("target")] = []
    """Paths of the node inside the container."""
    security_context: SecurityContext = field(default_factory=SecurityContext)
    """What a container may do."""
    init: bool = True
    """Plum is process 1 of a container: passes signals on, reaps orphans. false: for images that must be process 1 themselves."""
    resources: Resources = field(default_factory=Resources)
    """What it needs and what it may use."""
    probes: Probes = field(default_factory=Probes)
    """How the agent finds out whether it has started, is ready, and is alive."""
    lifecycle: Lifecycle = field(default_factory=Lifecycle)
    """What runs around the life of an instance."""
    stop_signal: Annotated[str, Meta(pattern="^SIG[A-Z0-9]+$")] = "SIGTERM"
    """Signal that asks the process group to stop."""
    termination_grace_period_seconds: NonNegative = 10
    """Seconds between the start of the stop, preStop included, and SIGKILL."""
    restart_policy: Literal["Always", "OnFailure", "Never"] = "Always"
    """When the agent starts a run again on the same node."""
    backoff: Backoff = field(default_factory=Backoff)
    """How long the agent waits before it starts a run again."""
    exit_code_rules: list[ExitCodeRule] = []
    """Exit codes with a meaning of their own; the first rule that matches decides, before restartPolicy."""
    logs: LogFiles = field(default_factory=LogFiles)
    """How much output is kept."""
    node_selector: dict[str, str] = {}
    """Labels a node must have."""
    affinity: Affinity | None = None
    """Nodes and neighbours that are required or preferred."""
    reservations: Annotated[list[Reservation], ListMap("resource")] = []
    """Devices it holds from its start to its end; it starts when all of them are free for it."""
    tolerations: list[Toleration] = []
    """Taints it accepts."""
    topology_spread: Annotated[list[TopologySpread], ListMap("topologyKey")] = []
    """Spread over zones, racks or nodes."""
    priority: int = 0
    """Higher ones are placed first when there is not room for all."""
    exclusive: bool = False
    """Two copies must never run at once, not even while a node is cut off: the agent stops it before its lease could be
    given to another."""
    disconnect: Disconnect = field(default_factory=Disconnect)
    """What happens when its node is lost."""
