"""The systemd units of controller and agent, and the files of settings beside them, as text. Nothing is read or written here.

    Choice (which program, whose manager, which interpreter) -> unit(choice), settings(name, values)

A unit is the same on every machine: what differs stands in its file of settings, which survives a new release.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

MARK = "# Written by `plum install systemd`. Change it with `systemctl edit`: a new release writes this file again."
DELEGATE_SUBGROUP_SINCE = 254
"""Release of systemd that can put a service into a group below the one it is given."""

_CONTROLLER_FENCE = """\
NoNewPrivileges=yes
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
ProtectSystem=strict
ProtectHome={protect_home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be installed, and where it will run."""

    program: str
    """`controller` or `agent`."""
    command: tuple[str, ...]
    """What is started, with its full path on the machine that will run it."""
    user_manager: bool = False
    """For `systemctl --user`: nothing that needs root."""
    run_as: str = ""
    """User of the controller; empty: one that systemd makes up for it."""
    reads_home: bool = False
    """The interpreter is below a home folder."""
    low_port: bool = False
    """The controller listens on a port below 1024."""
    systemd_version: int = DELEGATE_SUBGROUP_SINCE

    @property
    def name(self) -> str:
        return f"plum-{self.program}.service"

    @property
    def settings_name(self) -> str:
        return f"{self.program}.env"


def unit(choice: Choice) -> str:
    """The text of the unit."""
    service = _controller(choice) if choice.program == "controller" else _agent(choice)
    online = "" if choice.user_manager else "Wants=network-online.target\nAfter=network-online.target\n"
    return (
        f"{MARK}\n"
        f"[Unit]\nDescription=Plum {choice.program}\n{online}"
        "StartLimitIntervalSec=0\n"
        f"\n[Service]\nType=notify\nNotifyAccess=main\nExecStart={_line(choice.command)}\n{service}"
        f"\n[Install]\nWantedBy={'default.target' if choice.user_manager else 'multi-user.target'}\n"
    )


def _controller(choice: Choice) -> str:
    who = f"User={choice.run_as}\n" if choice.run_as else "DynamicUser=yes\n"
    fence = _CONTROLLER_FENCE.format(
        capabilities="CAP_NET_BIND_SERVICE" if choice.low_port else "",
        protect_home="read-only" if choice.reads_home else "yes",
    )
    return (
        "Environment=CONTROLLER_DATA_DIR=%S/plum\n"
        "EnvironmentFile=-%E/plum/controller.env\n"
        "StateDirectory=plum\nStateDirectoryMode=0700\nWorkingDirectory=%S/plum\n"
        "Restart=always\nRestartSec=1\n"
        "TimeoutStartSec=300\nTimeoutStopSec=60\nWatchdogSec=60\n"
        "LimitNOFILE=65536\n"
        f"{'' if choice.user_manager else who + fence}"
    )


def _agent(choice: Choice) -> str:
    old = choice.systemd_version < DELEGATE_SUBGROUP_SINCE
    group = "Environment=PLUM_CGROUP=/\n" if old and not choice.user_manager else ""
    subgroup = "" if old else "DelegateSubgroup=plum-agent\n"
    return (
        f"Environment=AGENT_DATA_DIR=%S/plum-agent\n{group}"
        "EnvironmentFile=-%E/plum/agent.env\n"
        "StateDirectory=plum-agent\nStateDirectoryMode=0755\nWorkingDirectory=%S/plum-agent\n"
        "# What the agent started goes on when the agent ends; the next one adopts it.\n"
        "KillMode=process\nOOMPolicy=continue\n"
        f"# Limits of instances are groups of the agent's own making.\nDelegate=yes\n{subgroup}TasksMax=infinity\n"
        "Restart=always\nRestartSec=1\n"
        "TimeoutStartSec=60\nTimeoutStopSec=90\nWatchdogSec=60\n"
    )


def _line(command: tuple[str, ...]) -> str:
    """A command line as systemd reads it: `%` and `$` would stand for something else."""
    return " ".join(shlex.quote(word).replace("%", "%%").replace("$", "$$") for word in command)


def settings(program: str, values: Mapping[str, str]) -> str:
    """The file of settings: those that were given, in a form that both systemd and a shell read."""
    page = "docs/settings.md" if program == "controller" else "docs/agent.md"
    lines = [f"# Settings of the {program}, NAME=VALUE; {page} lists them. `systemctl restart plum-{program}` makes them count."]
    for name, value in values.items():
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{name}="{quoted}"')
    return "\n".join(lines) + "\n"
