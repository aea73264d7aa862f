// Generated from the controller's description of its API by `npm run api`. Do not edit.
/* eslint-disable */
export type paths = Record<string, never>;
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        "dev.plum.v1.Affinity": {
            /** @description Instances to be near. */
            instanceAffinity?: components["schemas"]["dev.plum.v1.InstanceAffinity"];
            /** @description Instances to be far from. */
            instanceAntiAffinity?: components["schemas"]["dev.plum.v1.InstanceAffinity"];
            /** @description Nodes by their labels. */
            nodeAffinity?: components["schemas"]["dev.plum.v1.NodeAffinity"];
        };
        /** @description One version of a package that instances run. */
        "dev.plum.v1.Artifact": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description The package. */
            spec: {
                /** @description For people. */
                description?: string;
                /**
                 * @description Program inside the package that is the default command.
                 * @default start.sh
                 */
                entry?: string;
                /** @description Image with tag or digest, for type image. */
                image?: string;
                /** @description All keys of `meta.ini`. */
                metadata?: {
                    [key: string]: string;
                };
                /** @description Name of the application. */
                name: string;
                /** @description Ports an image publishes. */
                ports?: {
                    /**
                     * Format: int64
                     * @description Port inside the container.
                     */
                    container: number;
                    /**
                     * Format: int64
                     * @description Port on the node; 0 is chosen by the agent.
                     */
                    host: number;
                    /** @description Name of the port. */
                    name: string;
                    /** @description What is spoken there; tcp if absent. */
                    protocol?: string;
                    /** @description Service offered there, if any. */
                    serviceName?: string;
                }[];
                /** @description Services the package offers. */
                services?: {
                    /** @description Labels of the endpoints. */
                    labels?: {
                        [key: string]: string;
                    };
                    /** @description Name clients resolve. */
                    name: string;
                    /**
                     * Format: int64
                     * @description Port it listens on.
                     */
                    port: number;
                    /** @description What is spoken there; tcp if absent. */
                    protocol?: string;
                    /** @description Version clients may ask for; the version of the artifact if absent. */
                    version?: string;
                }[];
                /** @description Checksum of the zip, which is also where its bytes are stored. */
                sha256?: string;
                /**
                 * Format: int64
                 * @description Size of the zip in bytes.
                 * @default 0
                 */
                size?: number;
                /**
                 * @description zip: an uploaded package. image: a container image.
                 * @default zip
                 * @enum {string}
                 */
                type?: "zip" | "image";
                /** @description Version of the application; name and version together are unique in a namespace. */
                version: string;
            };
            /** @description Where the bytes are. */
            status?: {
                /** @description Stored. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * Format: date-time
                 * @description When the bytes were complete and checked.
                 */
                storedAt?: string;
                /** @description Path below the controller's address where nodes fetch it. */
                url?: string;
            };
        };
        "dev.plum.v1.Artifact2": {
            /** @description Application name of an Artifact in this namespace. */
            name?: string;
            /** @description Checksum in hexadecimal; every node checks it. Required with url. */
            sha256?: string;
            /** @description Address of a zip, instead of name and version. */
            url?: string;
            /** @description Version of that Artifact. */
            version?: string;
        };
        /** @description ArtifactList is a list of Artifact. */
        "dev.plum.v1.ArtifactList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Artifact"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Backoff": {
            /**
             * @description Each wait is this many times the one before.
             * @default 2
             */
            factor?: number;
            /**
             * @description Wait before the first restart.
             * @default 1s
             */
            initial?: string;
            /**
             * @description Longest wait.
             * @default 5m
             */
            max?: string;
            /**
             * @description A run that lasted this long makes the next wait start from `initial` again.
             * @default 10m
             */
            resetAfter?: string;
        };
        "dev.plum.v1.Body": {
            /** @description Nodes of the graph. */
            nodes?: components["schemas"]["dev.plum.v1.Nodes2"][];
        };
        "dev.plum.v1.Body2": {
            /** @description Nodes of the graph. */
            nodes?: {
                /** @description Unique in its graph; other nodes read its output as `nodes.NAME.output`. */
                name: string;
            }[];
        };
        "dev.plum.v1.Body3": {
            /** @description Nodes of the graph. */
            nodes?: components["schemas"]["dev.plum.v1.Nodes4"][];
        };
        "dev.plum.v1.Capabilities": {
            /** @description Given in addition, such as `NET_ADMIN`; `ALL` gives all. */
            add?: string[];
            /** @description Taken away; `ALL` takes all but those in `add`. */
            drop?: string[];
        };
        "dev.plum.v1.Compare": {
            /** @description Path inside its output. */
            field: string;
            /**
             * @description How it is compared.
             * @enum {string}
             */
            operator: "==" | "!=" | ">" | ">=" | "<" | "<=" | "contains" | "exists";
            /** @description Node whose output is read; the nearest task before this one if absent. */
            sourceTask?: string;
            /** @description Text to compare with; numbers are compared as numbers. */
            value?: string;
        };
        "dev.plum.v1.Concurrency": {
            /** @description Runs whose key is the same share the limit, such as `${{ payload.customer }}`; all runs of the definition if empty. */
            key?: string;
            /**
             * Format: int64
             * @description Runs at once.
             * @default 1
             */
            limit?: number;
            /**
             * @description Wait for a place, fail at once, or cancel the oldest.
             * @default Queue
             * @enum {string}
             */
            onLimit?: "Queue" | "Reject" | "Replace";
        };
        "dev.plum.v1.Concurrency2": {
            /** @description Runs whose key is the same share the limit, such as `${{ payload.customer }}`; all runs of the definition if empty. */
            key?: string;
            /**
             * Format: int64
             * @description Runs at once.
             */
            limit?: number;
            /**
             * @description Wait for a place, fail at once, or cancel the oldest.
             * @enum {string}
             */
            onLimit?: "Queue" | "Reject" | "Replace";
        };
        "dev.plum.v1.Conditions": {
            /**
             * Format: date-time
             * @description When `status` last changed.
             */
            lastTransitionTime?: string;
            /** @description A sentence for people: what is the case, and what to do. */
            message?: string;
            /**
             * Format: int64
             * @description Generation of the spec the fact speaks of.
             */
            observedGeneration?: number;
            /** @description CamelCase, for programs. Every condition Plum writes has one. */
            reason?: string;
            /** @description `True`, `False` or `Unknown`. */
            status: string;
            /** @description Name of the fact, such as `Ready`. */
            type: string;
        };
        "dev.plum.v1.Container": {
            /** @description Program and arguments; those of the image if empty. */
            command?: string[];
            /** @description Environment variables. A map from name to value is accepted. */
            env?: components["schemas"]["dev.plum.v1.Env"][];
            /** @description Image. */
            image: string;
            /** @description Text on its standard input; the payload as JSON if empty. */
            input?: string;
            /** @description Folder it starts in. */
            workingDir?: string;
        };
        "dev.plum.v1.Definition": {
            /** @description Hidden from lists of people, and cannot run. */
            archived?: boolean;
            /**
             * @description What a new run does while another one goes on: Allow both, Forbid the new one, Replace the old one, Queue the new one.
             * @default Allow
             * @enum {string}
             */
            concurrencyPolicy?: "Allow" | "Forbid" | "Replace" | "Queue";
            /** @description For people. */
            description?: string;
            /** @description Nodes to run at the end in any case, after onFailure. */
            finally?: components["schemas"]["dev.plum.v1.OnFailure"];
            /** @description Requests sent when something happens in a run. */
            hooks?: components["schemas"]["dev.plum.v1.Hooks"][];
            /**
             * @description How many finished runs are kept.
             * @default {}
             */
            keepRuns?: components["schemas"]["dev.plum.v1.KeepRuns"];
            /**
             * Format: int64
             * @description Most runs at once with policy Allow or Queue.
             */
            maxConcurrent?: number;
            /**
             * Format: int64
             * @description Most nodes of one run at once.
             */
            maxParallel?: number;
            /** @description Nodes of the graph. */
            nodes?: components["schemas"]["dev.plum.v1.Nodes"][];
            /** @description Nodes to run when the graph failed. */
            onFailure?: components["schemas"]["dev.plum.v1.OnFailure"];
            /** @description Outputs of a run: name to expression. */
            outputs?: Record<string, never>;
            /** @description Person or team it belongs to. */
            owner?: string;
            /** @description Parameters of a run. A map from name to default is accepted. */
            params?: components["schemas"]["dev.plum.v1.Params"][];
            /**
             * Format: int64
             * @description Priority of its runs unless they say otherwise.
             * @default 0
             */
            priority?: number;
            /** @description Devices that a run holds from its start to its end; it starts when all of them are free for it. */
            reservations?: components["schemas"]["dev.plum.v1.Reservations"][];
            /**
             * @description Draft may be incomplete and cannot run; Paused starts no new runs.
             * @default Active
             * @enum {string}
             */
            state?: "Draft" | "Active" | "Paused";
            /** @description For finding it. */
            tags?: string[];
            /** @description A pattern to make workflows from; it cannot run itself. */
            template?: boolean;
            /** @description Longest time of a run; no limit if absent. */
            timeout?: string;
            /** @description Constants, used as `variables.NAME`. */
            variables?: Record<string, never>;
            /** @description Version as people call it; every change has a Revision of its own anyway. */
            version?: string;
        };
        "dev.plum.v1.Delegate": {
            /** @description How long the node may be out of contact before the run is given up as Failed with reason NodeLost; never if absent. */
            lostAfter?: string;
            /** @description Name of the node. */
            nodeName?: string;
            /** @description Labels of the node; of those that fit and answer, the one with the fewest such runs is taken. */
            nodeSelector?: {
                [key: string]: string;
            };
        };
        "dev.plum.v1.DependsOn": {
            /** @description The earlier node. */
            node: string;
            /** @description For an edge from a branch or condition: the outcome it belongs to, `true`, `false` or the name of a case. */
            on?: string;
        };
        /** @description Keeps the wanted number of instances of one template running and replaces them when the template changes. */
        "dev.plum.v1.Deployment": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description Wanted state. */
            spec: {
                /**
                 * @description What happens when a node is lost.
                 * @default {}
                 */
                failover?: {
                    /** @description Replace instances of a lost node. The controller's setting (on by default) decides if absent. */
                    enabled?: boolean;
                    /**
                     * @description Whether instances return to a node that came back. Manual waits for the annotation `plum.dev/failback`.
                     * @default Never
                     * @enum {string}
                     */
                    failback?: "Never" | "Manual" | "Automatic";
                    /**
                     * Format: int64
                     * @description Most instances that return per minute.
                     * @default 1
                     */
                    failbackMaxRate?: number;
                    /**
                     * Format: int64
                     * @description Seconds the node must have been ready before anything returns to it.
                     * @default 300
                     */
                    failbackStableSeconds?: number;
                };
                /** @description Wanted number of instances on each named node, instead of replicas. */
                nodeReplicas?: {
                    [key: string]: number;
                };
                /** @description A new template changes nothing until this is false again. Scaling goes on. */
                paused?: boolean;
                /**
                 * Format: int64
                 * @description Wanted number of instances; the scheduler chooses nodes. 1 if neither this nor nodeReplicas is set.
                 */
                replicas?: number;
                /**
                 * Format: int64
                 * @description Old revisions to keep for a rollback.
                 * @default 10
                 */
                revisionHistoryLimit?: number;
                /**
                 * @description Stopped keeps the objects and stops what runs.
                 * @default Running
                 * @enum {string}
                 */
                state?: "Running" | "Stopped";
                /**
                 * @description How a new template replaces the old one.
                 * @default {}
                 */
                strategy?: {
                    /** @description Steps for type Canary. */
                    canary?: {
                        /** @description Steps in order. */
                        steps?: {
                            /** @description Time to stay at this step once it is available; `0` waits until the rollout is resumed. The next step follows at once if absent. */
                            pause?: string;
                            /**
                             * Format: int64
                             * @description Number of instances that run the new template.
                             */
                            replicas?: number;
                            /**
                             * Format: int64
                             * @description Share of the instances that run the new template, in percent, rounded up.
                             */
                            weight?: number;
                        }[];
                    };
                    /**
                     * @description Instances above the wanted number during a rollout; a percentage is rounded up.
                     * @default 25%
                     */
                    maxSurge?: number | string;
                    /**
                     * @description Instances below the wanted number during a rollout; a percentage is rounded down.
                     * @default 25%
                     */
                    maxUnavailable?: number | string;
                    /**
                     * Format: int64
                     * @description Seconds an instance must have been ready to count as available. Without a readiness or startup probe it is at least 1, and 10 after a crash.
                     * @default 0
                     */
                    minReadySeconds?: number;
                    /**
                     * @description What follows a failed rollout. Rollback returns to the last revision that became available, once per generation.
                     * @default Pause
                     * @enum {string}
                     */
                    onFailure?: "Rollback" | "Pause" | "Ignore";
                    /**
                     * Format: int64
                     * @description Seconds without progress after which a rollout has failed.
                     * @default 600
                     */
                    progressDeadlineSeconds?: number;
                    /**
                     * @description Whether a replacement starts when the stop of the old instance began, or when it is complete and its ports are free.
                     * @default TerminationComplete
                     * @enum {string}
                     */
                    replacementPolicy?: "TerminationStarted" | "TerminationComplete";
                    /**
                     * @description RollingUpdate replaces a few at a time, Recreate stops all first, Canary goes in steps.
                     * @default RollingUpdate
                     * @enum {string}
                     */
                    type?: "RollingUpdate" | "Recreate" | "Canary";
                };
                /** @description What each instance runs. */
                template: components["schemas"]["dev.plum.v1.Template"];
            };
            /** @description What was last seen; written by the controller. */
            status?: {
                /**
                 * Format: int64
                 * @description Instances ready for at least minReadySeconds.
                 * @default 0
                 */
                availableReplicas?: number;
                /**
                 * Format: int64
                 * @description Times the hash of a template was already taken; part of the next hash.
                 */
                collisionCount?: number;
                /** @description Available, Progressing, Paused, ReplicaFailure. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /** @description Hash of the last revision that became available completely; a rollback goes there. */
                lastAvailableRevision?: string;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * Format: int64
                 * @description Instances with condition Ready.
                 * @default 0
                 */
                readyReplicas?: number;
                /**
                 * Format: int64
                 * @description Instances that exist and are not being deleted.
                 * @default 0
                 */
                replicas?: number;
                /**
                 * Format: int64
                 * @description Number of the current revision.
                 * @default 0
                 */
                revision?: number;
                /** @description Hash of the current template. */
                revisionHash?: string;
                /**
                 * Format: int64
                 * @description Generation whose rollout was rolled back; there is no second one for it. Until the template changes, instances are made from `lastAvailableRevision`.
                 * @default 0
                 */
                rolledBackGeneration?: number;
                /**
                 * @description How far the rollout of the current template has come.
                 * @default {}
                 */
                rollout?: {
                    /**
                     * Format: int64
                     * @description Index of the current canary step.
                     */
                    canaryStep?: number;
                    /**
                     * Format: date-time
                     * @description When the current canary step became available; its pause counts from here.
                     */
                    canaryStepAt?: string;
                    /** @description All wanted instances of the template were available once, and no others were left. */
                    complete?: boolean;
                    /**
                     * Format: date-time
                     * @description When an instance last went back to its node.
                     */
                    failbackAt?: string;
                    /**
                     * Format: date-time
                     * @description When the progress deadline passed.
                     */
                    failedAt?: string;
                    /**
                     * Format: int64
                     * @description Fewest instances of other templates seen so far.
                     */
                    fewestOld?: number;
                    /**
                     * Format: int64
                     * @description Generation at which it began, or began again after a change of the spec.
                     * @default 0
                     */
                    generation?: number;
                    /** @description Hash of the template that is rolled out. */
                    hash?: string;
                    /**
                     * Format: int64
                     * @description Most available instances of the template seen so far.
                     * @default 0
                     */
                    mostAvailable?: number;
                    /**
                     * Format: int64
                     * @description Most instances of the template seen so far.
                     * @default 0
                     */
                    mostUpdated?: number;
                    /** @description Value of the annotation `plum.dev/failback` that was carried out. */
                    observedFailback?: string;
                    /**
                     * Format: date-time
                     * @description When it last came closer: more updated or available instances than ever, or fewer old ones. The deadline counts from here.
                     */
                    progressedAt?: string;
                    /**
                     * Format: date-time
                     * @description When it began.
                     */
                    startedAt?: string;
                };
                /** @description Label selector of the instances, for the scale subresource. */
                selector?: string;
                /**
                 * Format: int64
                 * @description Instances still missing to the wanted number of available ones.
                 * @default 0
                 */
                unavailableReplicas?: number;
                /**
                 * Format: int64
                 * @description Instances of the current template.
                 * @default 0
                 */
                updatedReplicas?: number;
            };
        };
        /** @description DeploymentList is a list of Deployment. */
        "dev.plum.v1.DeploymentList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Deployment"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Disconnect": {
            /** @description How long after the last renewal of its lease the node counts as lost; never less than one lease, which is the default. */
            lostAfter?: string;
            /**
             * @description Which of two copies stays when the node comes back.
             * @default keepOriginal
             * @enum {string}
             */
            reconcile?: "keepOriginal" | "keepReplacement" | "longestRunning";
            /**
             * @description Start a replacement on another node once the node is lost.
             * @default true
             */
            replace?: boolean;
        };
        /** @description One address of a service. */
        "dev.plum.v1.Endpoint": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description Where the service is reached. */
            spec: {
                /** @description IP address or host name. */
                address: string;
                /** @description Checks from the controller, for things outside the fleet. */
                healthCheck?: components["schemas"]["dev.plum.v1.HealthCheck"];
                /**
                 * @description What whoever registered it said of it last; false makes it critical.
                 * @default true
                 */
                healthy?: boolean;
                /**
                 * Format: date-time
                 * @description When it was last registered or heard of, for endpoints with a ttl.
                 */
                heartbeatAt?: string;
                /** @description Instance that serves here; empty for things outside the fleet. */
                instanceName?: string;
                /** @description Incarnation of that instance. */
                instanceUid?: string;
                /** @description Labels clients may ask for. */
                labels?: {
                    [key: string]: string;
                };
                /** @description Node of that instance. */
                nodeName?: string;
                /**
                 * Format: int64
                 * @description Port.
                 */
                port: number;
                /**
                 * @description What is spoken there.
                 * @default tcp
                 */
                protocol?: string;
                /** @description Name clients resolve. */
                service: string;
                /** @description For endpoints registered by heartbeat: without one for this long the endpoint is critical. */
                ttl?: string;
                /** @description Version clients may ask for. */
                version?: string;
                /**
                 * Format: int64
                 * @description Share of requests against the other endpoints; 0 takes none.
                 * @default 100
                 */
                weight?: number;
                /** @description Zone of that node, by its label `zone` or `topology.kubernetes.io/zone`; callers may prefer their own. */
                zone?: string;
            };
            /** @description What was last seen. */
            status?: {
                /**
                 * Format: date-time
                 * @description When it was last checked.
                 */
                checkedAt?: string;
                /** @description Ready. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: int64
                 * @description Failures in a row.
                 * @default 0
                 */
                failures?: number;
                /** @description What the last check said. */
                message?: string;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * @description Only passing endpoints take requests; warning ones do when no other is left.
                 * @default warning
                 * @enum {string}
                 */
                state?: "passing" | "warning" | "critical";
            };
        };
        /** @description EndpointList is a list of Endpoint. */
        "dev.plum.v1.EndpointList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Endpoint"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Env": {
            /** @description Name of the variable. */
            name: string;
            /** @description Its value. `$(OTHER)` is replaced by a variable defined before it. */
            value?: string;
            /** @description Where the value comes from, instead of `value`. */
            valueFrom?: components["schemas"]["dev.plum.v1.ValueFrom"];
        };
        "dev.plum.v1.EnvFrom": {
            /** @description A ConfigMap. */
            configMapRef?: {
                /** @description Name of the Secret or ConfigMap. */
                name: string;
                /** @description Start without it when it is missing. */
                optional?: boolean;
            };
            /** @description Put before each name. */
            prefix?: string;
            /** @description A Secret. */
            secretRef?: {
                /** @description Name of the Secret or ConfigMap. */
                name: string;
                /** @description Start without it when it is missing. */
                optional?: boolean;
            };
        };
        "dev.plum.v1.Event": {
            /** @description API version of the objects; `plum.dev/v1` if absent. */
            apiVersion?: string;
            /** @description Changes that count; all if empty. */
            changes?: ("Added" | "Modified" | "Deleted")[];
            /** @description Kind of the objects. */
            kind?: string;
            /** @description Name of the object; all of the kind if absent. */
            name?: string;
            /** @description Namespace of the objects; its own if absent. */
            namespace?: string;
            /** @description Labels of the objects. */
            selector?: components["schemas"]["dev.plum.v1.LabelSelector"];
            /** @description Name of an event somebody sent, instead of a kind. */
            type?: string;
            /** @description Expression over `object` and `old`, or over `event`, that must be true. */
            when?: string;
        };
        "dev.plum.v1.Exit": {
            /**
             * Format: int64
             * @description Exit code; absent when nobody could observe it.
             */
            code?: number;
            /**
             * Format: date-time
             * @description When it ended.
             */
            finishedAt?: string;
            /** @description What is known, for people. */
            message?: string;
            /** @description CamelCase: Completed, Error, OutOfMemory, StartFailed, ProbeFailed, Fenced, Unknown. */
            reason?: string;
            /** @description Signal that ended it, such as SIGKILL. */
            signal?: string;
            /**
             * Format: date-time
             * @description When that run started.
             */
            startedAt?: string;
        };
        "dev.plum.v1.ExitCodeRules": {
            /**
             * @description Restart on this node, or end the instance as Failed or Succeeded.
             * @enum {string}
             */
            action: "Restart" | "Fail" | "Succeed";
            /** @description Exit codes; a run ended by a signal has 128 + its number. */
            codes: number[];
            /**
             * @description In: the code is listed. NotIn: it is not. In if absent.
             * @enum {string}
             */
            operator?: "In" | "NotIn";
        };
        "dev.plum.v1.Files": {
            /** @description All keys of a ConfigMap. */
            configMapRef?: {
                /** @description Name of the Secret or ConfigMap. */
                name: string;
                /** @description Start without it when it is missing. */
                optional?: boolean;
            };
            /** @description Permissions in octal; the files belong to the user of the workload. */
            mode?: string;
            /** @description Where, relative to the unpacked artifact or the folder the command starts in. For a whole object: a folder, with a file for each key. */
            path: string;
            /** @description All keys of a Secret. */
            secretRef?: {
                /** @description Name of the Secret or ConfigMap. */
                name: string;
                /** @description Start without it when it is missing. */
                optional?: boolean;
            };
            /** @description Its content. */
            value?: string;
            /** @description Where its content comes from. */
            valueFrom?: components["schemas"]["dev.plum.v1.ValueFrom2"];
        };
        "dev.plum.v1.HealthCheck": {
            /**
             * Format: int64
             * @description Failures in a row that make an endpoint critical; it is warning from the first one.
             * @default 3
             */
            failureThreshold?: number;
            /** @description A GET. */
            http?: components["schemas"]["dev.plum.v1.Http"];
            /**
             * @description Time between checks.
             * @default 10s
             */
            period?: string;
            /**
             * @description Time after the start in which failures do not count.
             * @default 0s
             */
            startupGrace?: string;
            /**
             * Format: int64
             * @description Successes in a row that make an endpoint passing.
             * @default 1
             */
            successThreshold?: number;
            /** @description A connection. */
            tcp?: {
                /** @description Host to connect to; the instance itself if absent. */
                host?: string;
                /** @description Port by number or by name. */
                port: number | string;
            };
            /**
             * @description An answer later than this is a failure.
             * @default 2s
             */
            timeout?: string;
        };
        "dev.plum.v1.Hooks": {
            /** @description Headers to send; expressions are allowed. */
            headers?: {
                [key: string]: string;
            };
            /** @description Name of the hook. */
            name: string;
            /** @description What it waits for. */
            on: ("RunStarted" | "RunFinished" | "NodeStarted" | "NodeFinished")[];
            /** @description Address on the allow list; gets the event as JSON by POST. */
            url: string;
        };
        "dev.plum.v1.Http": {
            /** @description Headers to send. */
            headers?: {
                [key: string]: string;
            };
            /** @description Host to connect to; the instance itself if absent. */
            host?: string;
            /**
             * @description Path and query.
             * @default /
             */
            path?: string;
            /** @description Port by number or by name. */
            port: number | string;
            /**
             * @description With https the certificate is not checked, as the address is the node's own.
             * @default http
             * @enum {string}
             */
            scheme?: "http" | "https";
        };
        "dev.plum.v1.Http2": {
            /** @description Body as JSON; the payload if absent. */
            body?: unknown;
            /** @description Headers to send; expressions are allowed. */
            headers?: {
                [key: string]: string;
            };
            /**
             * @description Method.
             * @default POST
             * @enum {string}
             */
            method?: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
            /** @description Address; expressions are allowed. */
            url: string;
        };
        /** @description One run of a template on one node. */
        "dev.plum.v1.Instance": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description Wanted state. */
            spec: {
                /** @description Node it runs on; set once, by the scheduler or by the owner. */
                nodeName?: string;
                /** @description Any change of this text restarts the run on its node once. */
                restartRequest?: string;
                /**
                 * @description Stopped keeps the object and stops what runs.
                 * @default Running
                 * @enum {string}
                 */
                state?: "Running" | "Stopped";
                /** @description What it runs. */
                template: components["schemas"]["dev.plum.v1.Template"];
            };
            /** @description What was last seen; written by the agent of its node. */
            status?: {
                /** @description Address other nodes reach it at. */
                address?: string;
                /** @description Checksum of the artifact that runs. */
                artifactSha256?: string;
                /** @description Boot of the node that this status speaks of. */
                bootId?: string;
                /** @description Scheduled, Prepared, Started, Ready, ResourceLimits. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /** @description Id of the container, while it exists. */
                containerId?: string;
                /** @description How the instance ended, if it has ended for good. */
                exit?: components["schemas"]["dev.plum.v1.Exit"];
                /**
                 * Format: date-time
                 * @description End of the run, if it has ended for good.
                 */
                finishedAt?: string;
                /** @description Digest of the image that runs. */
                imageId?: string;
                /** @description How the run before this one ended. */
                lastExit?: components["schemas"]["dev.plum.v1.Exit"];
                /** @description A sentence for people: what it waits for. */
                message?: string;
                /**
                 * Format: date-time
                 * @description When the agent starts it again, while it waits in backoff.
                 */
                nextStartAt?: string;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /** @description The restartRequest that was carried out. */
                observedRestartRequest?: string;
                /**
                 * @description Where it is in its life.
                 * @default Pending
                 * @enum {string}
                 */
                phase?: "Pending" | "Scheduled" | "Preparing" | "Starting" | "Running" | "Stopping" | "Stopped" | "Succeeded" | "Failed" | "Unknown";
                /**
                 * Format: int64
                 * @description Process id on the node, while it runs.
                 */
                pid?: number;
                /** @description Ports as they are on the node, chosen ones included. */
                ports?: {
                    /** @description Name of the port in the template. */
                    name: string;
                    /**
                     * Format: int64
                     * @description Number on the node.
                     */
                    port: number;
                    /** @description What is spoken there. */
                    protocol?: string;
                }[];
                /** @description The same as condition Ready. */
                ready?: boolean;
                /** @description CamelCase word for the phase, such as BackOff or ArtifactMissing. */
                reason?: string;
                /**
                 * Format: int64
                 * @description Runs after the first.
                 * @default 0
                 */
                restarts?: number;
                /** @description Why it has no node yet. */
                scheduling?: {
                    /** @description Nodes that were refused; at most 100, then one entry with the counts. */
                    refusals?: {
                        /** @description What would have to change. */
                        message?: string;
                        /** @description The node; empty for reasons that hold for all. */
                        nodeName: string;
                        /** @description CamelCase: NodeNotReady, NodeUnschedulable, UntoleratedTaint, NodeSelectorMismatch, InsufficientCpu, PortInUse, ... */
                        reason: string;
                    }[];
                };
                /**
                 * Format: date-time
                 * @description Start of the current run, or of the last one.
                 */
                startedAt?: string;
            };
        };
        "dev.plum.v1.InstanceAffinity": {
            /** @description What is better. */
            preferred?: components["schemas"]["dev.plum.v1.Preferred2"][];
            /** @description All must hold. */
            required?: components["schemas"]["dev.plum.v1.Required2"][];
        };
        /** @description InstanceList is a list of Instance. */
        "dev.plum.v1.InstanceList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Instance"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.KeepRuns": {
            /**
             * Format: int64
             * @description Runs that ended otherwise.
             * @default 100
             */
            failed?: number;
            /**
             * @description Older ones are removed in any case.
             * @default 90d
             */
            maxAge?: string;
            /**
             * Format: int64
             * @description Runs that succeeded.
             * @default 100
             */
            succeeded?: number;
        };
        /** @description One entry of the key-value store. */
        "dev.plum.v1.KV": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /**
             * @description The value.
             * @default {}
             */
            spec?: {
                /**
                 * Format: date-time
                 * @description When the entry is deleted. Set by the server from `ttl`, anew with every write that changes the entry.
                 */
                expiresAt?: string;
                /** @description The key, any printable path; the name of the object if absent. */
                key?: string;
                /** @description Name of a Lease in the namespace; the entry is deleted when it runs out or is gone. */
                lease?: string;
                /** @description Time after the last write at which the entry is deleted; never if absent. */
                ttl?: string;
                /**
                 * @description Type of the value.
                 * @default json
                 * @enum {string}
                 */
                type?: "string" | "int" | "double" | "bool" | "bytes" | "json";
                /** @description The value; bytes are base64. */
                value?: unknown;
            };
        };
        /** @description KVList is a list of KV. */
        "dev.plum.v1.KVList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.KV"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.LabelSelector": {
            /** @description Further demands. */
            matchExpressions?: components["schemas"]["dev.plum.v1.MatchExpressions2"][];
            /** @description Labels with exactly these values. */
            matchLabels?: {
                [key: string]: string;
            };
        };
        "dev.plum.v1.Lifecycle": {
            /** @description Done before the stop signal, inside the grace period; a failure does not keep it from stopping. */
            preStop?: components["schemas"]["dev.plum.v1.PreStop"];
        };
        "dev.plum.v1.Logs": {
            /**
             * Format: int64
             * @description Files kept of each run, the current one included.
             * @default 5
             */
            maxFiles?: number;
            /**
             * @description Size at which a file is rotated, in bytes.
             * @default 10Mi
             */
            maxSize?: number | string;
        };
        "dev.plum.v1.MatchExpressions": {
            /** @description Key of the label, or `metadata.name` in matchFields. */
            key: string;
            /**
             * @description Gt and Lt compare integers.
             * @enum {string}
             */
            operator: "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt";
            /** @description Values to compare with: several for In and NotIn, one for Gt and Lt. */
            values?: string[];
        };
        "dev.plum.v1.MatchExpressions2": {
            /** @description Key of the label. */
            key: string;
            /**
             * @description In and NotIn compare with `values`; NotIn and DoesNotExist also accept objects without the label.
             * @enum {string}
             */
            operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
            /** @description Values for In and NotIn. */
            values?: string[];
        };
        "dev.plum.v1.Metadata": {
            /** @description Annotations every instance gets. */
            annotations?: {
                [key: string]: string;
            };
            /** @description Labels every instance gets; selectors of services find it by them. */
            labels?: {
                [key: string]: string;
            };
        };
        "dev.plum.v1.Mounts": {
            /** @description The workload cannot write there. */
            readOnly?: boolean;
            /** @description Path on the node; a relative one is below the instance's own folder. */
            source: string;
            /** @description Absolute path inside the container. */
            target: string;
        };
        /** @description One machine with an agent. */
        "dev.plum.v1.Node": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /**
             * @description What the user wants of it.
             * @default {}
             */
            spec?: {
                /** @description Present: move everything away. */
                drain?: {
                    /**
                     * Format: int64
                     * @description Seconds from `requestedAt` after which the rest is removed without regard to availability; 0 never does that.
                     * @default 600
                     */
                    deadlineSeconds?: number;
                    /**
                     * @description Leave instances that nodeReplicas or a nodeSelector holds on this node; false deletes them too.
                     * @default true
                     */
                    ignorePinned?: boolean;
                    /**
                     * Format: date-time
                     * @description When the drain was asked for.
                     */
                    requestedAt?: string;
                };
                /**
                 * Format: int64
                 * @description How long a renewal of the lease holds. The agent renews every third of it; everything else is derived from it.
                 * @default 15
                 */
                leaseSeconds?: number;
                /** @description Keep instances away that do not tolerate them. */
                taints?: components["schemas"]["dev.plum.v1.Taints"][];
                /** @description Cordoned: nothing new is placed here. */
                unschedulable?: boolean;
            };
            /** @description What was last seen. */
            status?: {
                /** @description Where the node is reached. */
                addresses?: {
                    /** @description The address. */
                    address: string;
                    /**
                     * @description What kind of address it is.
                     * @enum {string}
                     */
                    type: "InternalIP" | "ExternalIP" | "Hostname";
                }[];
                /** @description Version of the agent. */
                agentVersion?: string;
                /** @description What instances may use. */
                allocatable?: {
                    [key: string]: number | string;
                };
                /** @description Processor architecture. */
                arch?: string;
                /** @description Changes with every boot of the machine. */
                bootId?: string;
                /** @description All the machine has: cpu, memory, disk (that of the agent's data), instances. */
                capacity?: {
                    [key: string]: number | string;
                };
                /** @description Ready, Drained, DiskPressure, MemoryPressure, PIDPressure, CertificateExpiring. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: int64
                 * @description Runs of workflows that it carries out by itself; the agent follows them while there are any.
                 * @default 0
                 */
                delegatedRuns?: number;
                /** @description Devices that instances may hold. */
                devices?: {
                    /** @description It is present and usable; true if absent. */
                    healthy?: boolean;
                    /** @description Name that templates ask for. */
                    name: string;
                    /** @description Path on the node, such as `/dev/ttyUSB0`. */
                    path?: string;
                }[];
                /** @description The container engine, where the node has one or had one since the agent began. */
                engine?: {
                    /** @description Newest version of its API. */
                    apiVersion?: string;
                    /** @description It answers the agent now. */
                    available?: boolean;
                    /** @description 1 or 2. */
                    cgroupVersion?: string;
                    /** @description Why it does not answer, and what to do. */
                    message?: string;
                    /** @description Such as docker. */
                    name?: string;
                    /** @description How it keeps images, such as overlay2. */
                    storageDriver?: string;
                    /** @description Release of the engine. */
                    version?: string;
                };
                /** @description Kernel release. */
                kernel?: string;
                /**
                 * Format: date-time
                 * @description When the node was last known to be alive; written when it is lost, not at every heartbeat.
                 */
                lastSeen?: string;
                /** @description The way to the controller, as the agent measures it. */
                link?: {
                    /**
                     * @description Usual time from a request to its answer, the work of the controller included.
                     * @default 0
                     */
                    answerMilliseconds?: number;
                    /**
                     * @description Closed: requests are sent. Open: the controller does not answer, and is asked now and then.
                     * @default Closed
                     * @enum {string}
                     */
                    breaker?: "Closed" | "Open" | "Probing";
                    /**
                     * Format: int64
                     * @description Bytes of answers and watches.
                     * @default 0
                     */
                    bytesReceived?: number;
                    /**
                     * Format: int64
                     * @description Bytes of requests.
                     * @default 0
                     */
                    bytesSent?: number;
                    /**
                     * Format: int64
                     * @description Requests to which no answer came.
                     * @default 0
                     */
                    failures?: number;
                    /** @description The last time it was. */
                    lastOutage?: {
                        /**
                         * Format: date-time
                         * @description When the first request of it failed, by the clock of the node.
                         */
                        began: string;
                        /**
                         * Format: int64
                         * @description How long it lasted.
                         * @default 0
                         */
                        seconds?: number;
                    };
                    /**
                     * @description Share of packets with data that the agent had to send again.
                     * @default 0
                     */
                    lossPercent?: number;
                    /**
                     * Format: date-time
                     * @description When these figures were taken. They are written when something of them mattered, not all the time.
                     */
                    measuredAt: string;
                    /**
                     * Format: int64
                     * @description How often the controller was out of reach.
                     * @default 0
                     */
                    outages?: number;
                    /**
                     * Format: int64
                     * @description Statuses of instances that waited to be delivered when this was written.
                     * @default 0
                     */
                    queued?: number;
                    /**
                     * Format: int64
                     * @description Requests that were sent.
                     * @default 0
                     */
                    requests?: number;
                    /**
                     * Format: int64
                     * @description Requests that were sent once more over another connection.
                     * @default 0
                     */
                    retries?: number;
                    /**
                     * @description Usual time of a packet there and back, as the kernel measures it; 0 where it does not.
                     * @default 0
                     */
                    roundTripMilliseconds?: number;
                    /**
                     * @description Silence after which a request is given up, as it follows from the times above.
                     * @default 0
                     */
                    timeoutSeconds?: number;
                };
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /** @description Operating system and release. */
                os?: string;
                /** @description What it can run: process, container. */
                runtimes?: string[];
            };
        };
        "dev.plum.v1.NodeAffinity": {
            /** @description Nodes that are better than others. */
            preferred?: components["schemas"]["dev.plum.v1.Preferred"][];
            /** @description At least one term must hold; nothing is demanded when empty. */
            required?: components["schemas"]["dev.plum.v1.Required"][];
        };
        /** @description NodeList is a list of Node. */
        "dev.plum.v1.NodeList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Node"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Nodes": {
            /** @description loop, map: graph run once for each iteration or item. */
            body?: components["schemas"]["dev.plum.v1.Body"];
            /** @description branch: named outcomes instead of one condition. */
            cases?: {
                /** @description Expression; the first case that is true is taken. */
                condition: string;
                /** @description Name that edges carry. */
                name: string;
            }[];
            /** @description branch, condition: the classic form `{sourceTask, field, operator, value}` instead of an expression. */
            compare?: components["schemas"]["dev.plum.v1.Compare"];
            /** @description How many of its tasks go on at once, over all runs. */
            concurrency?: components["schemas"]["dev.plum.v1.Concurrency2"];
            /** @description branch, condition: expression; edges from here carry `true` or `false`. */
            condition?: string;
            /** @description http, script, agent, llm, mcp, database, email, webhook, operation: settings of the step; expressions are allowed. */
            config?: Record<string, never>;
            /** @description A failure here does not fail the run. */
            continueOnFailure?: boolean;
            /**
             * Format: int64
             * @description loop: number of iterations.
             */
            count?: number;
            /** @description branch: outcome when no case is true. */
            defaultCase?: string;
            /** @description subworkflow: the machine that carries out its run, with or without the controller; the controller does if absent. */
            delegate?: components["schemas"]["dev.plum.v1.Delegate"];
            /** @description Nodes it waits for. Names alone are accepted. */
            dependsOn?: components["schemas"]["dev.plum.v1.DependsOn"][];
            /** @description For people. */
            description?: string;
            /** @description Name for people. */
            displayName?: string;
            /**
             * @description What happens to an attempt whose end nobody saw; as the task definition says if absent.
             * @enum {string}
             */
            execution?: "AtLeastOnce" | "AtMostOnce";
            /** @description map: a list, or an expression that gives one. */
            items?: unknown;
            /** @description map: bodies that may fail without failing the node, as a count or a percentage; 0 if absent. */
            maxFailures?: number | string;
            /**
             * Format: int64
             * @description loop: the run fails when it would need more; 10,000 if absent.
             */
            maxIterations?: number;
            /**
             * Format: int64
             * @description map, parallel: most bodies at once; all if absent.
             */
            maxParallel?: number;
            /** @description Unique in its graph; other nodes read its output as `nodes.NAME.output`. */
            name: string;
            /** @description Machine that executes it. */
            nodeName?: string;
            /** @description Labels of the machine or worker that executes it. */
            nodeSelector?: {
                [key: string]: string;
            };
            /** @description subworkflow: parameters of its run; expressions are allowed. */
            params?: Record<string, never>;
            /** @description Input; expressions are allowed. */
            payload?: Record<string, never>;
            /** @description Where it is drawn. */
            position?: {
                /** @description To the right, in pixels; 0 if absent. */
                x?: number;
                /** @description Down, in pixels; 0 if absent. */
                y?: number;
            };
            /**
             * Format: int64
             * @description Priority of its tasks; that of the run if absent.
             */
            priority?: number;
            /** @description When a failed attempt is tried again; that of the task definition if absent. */
            retry?: components["schemas"]["dev.plum.v1.Retry2"];
            /** @description task: name of the TaskDefinition, or of a builtin such as `builtin.echo`. */
            taskRef?: string;
            /** @description Longest time of one attempt. */
            timeout?: string;
            /**
             * @description When it starts, judged by the nodes it waits for. If absent all_success, after a branch none_failed_min_one_success.
             * @enum {string}
             */
            triggerRule?: "all_success" | "one_success" | "all_failed" | "one_failed" | "all_done" | "none_failed" | "all_skipped" | "one_done" | "none_skipped" | "none_failed_min_one_success" | "all_done_min_one_success" | "always";
            /**
             * @description What it does; task if absent.
             * @enum {string}
             */
            type?: "task" | "branch" | "parallel" | "loop" | "map" | "subworkflow" | "wait" | "http" | "script" | "agent" | "llm" | "mcp" | "database" | "email" | "webhook" | "operation" | "condition";
            /** @description loop: expression; no further iteration once it is true, asked after each. */
            until?: string;
            /** @description loop, map: name of the loop variable, used as `loop.NAME`; `i` or `item` if absent. */
            variable?: string;
            /** @description wait: what it waits for. */
            wait?: components["schemas"]["dev.plum.v1.Wait"];
            /**
             * @description parallel: whether it is done when all or any of the nodes after it are; all if absent.
             * @enum {string}
             */
            waitPolicy?: "all" | "any";
            /** @description Expression; the node is skipped unless it is true. */
            when?: string;
            /** @description loop: expression; another iteration while it is true, asked before each. */
            while?: string;
            /** @description subworkflow: name of the Workflow. */
            workflowRef?: string;
        };
        "dev.plum.v1.Nodes2": {
            /** @description loop, map: graph run once for each iteration or item. */
            body?: components["schemas"]["dev.plum.v1.Body2"];
            /** @description branch: named outcomes instead of one condition. */
            cases?: {
                /** @description Expression; the first case that is true is taken. */
                condition: string;
                /** @description Name that edges carry. */
                name: string;
            }[];
            /** @description branch, condition: the classic form `{sourceTask, field, operator, value}` instead of an expression. */
            compare?: components["schemas"]["dev.plum.v1.Compare"];
            /** @description How many of its tasks go on at once, over all runs. */
            concurrency?: components["schemas"]["dev.plum.v1.Concurrency2"];
            /** @description branch, condition: expression; edges from here carry `true` or `false`. */
            condition?: string;
            /** @description http, script, agent, llm, mcp, database, email, webhook, operation: settings of the step; expressions are allowed. */
            config?: Record<string, never>;
            /** @description A failure here does not fail the run. */
            continueOnFailure?: boolean;
            /**
             * Format: int64
             * @description loop: number of iterations.
             */
            count?: number;
            /** @description branch: outcome when no case is true. */
            defaultCase?: string;
            /** @description subworkflow: the machine that carries out its run, with or without the controller; the controller does if absent. */
            delegate?: components["schemas"]["dev.plum.v1.Delegate"];
            /** @description Nodes it waits for. Names alone are accepted. */
            dependsOn?: components["schemas"]["dev.plum.v1.DependsOn"][];
            /** @description For people. */
            description?: string;
            /** @description Name for people. */
            displayName?: string;
            /**
             * @description What happens to an attempt whose end nobody saw; as the task definition says if absent.
             * @enum {string}
             */
            execution?: "AtLeastOnce" | "AtMostOnce";
            /** @description map: a list, or an expression that gives one. */
            items?: unknown;
            /** @description map: bodies that may fail without failing the node, as a count or a percentage; 0 if absent. */
            maxFailures?: number | string;
            /**
             * Format: int64
             * @description loop: the run fails when it would need more; 10,000 if absent.
             */
            maxIterations?: number;
            /**
             * Format: int64
             * @description map, parallel: most bodies at once; all if absent.
             */
            maxParallel?: number;
            /** @description Unique in its graph; other nodes read its output as `nodes.NAME.output`. */
            name: string;
            /** @description Machine that executes it. */
            nodeName?: string;
            /** @description Labels of the machine or worker that executes it. */
            nodeSelector?: {
                [key: string]: string;
            };
            /** @description subworkflow: parameters of its run; expressions are allowed. */
            params?: Record<string, never>;
            /** @description Input; expressions are allowed. */
            payload?: Record<string, never>;
            /** @description Where it is drawn. */
            position?: {
                /** @description To the right, in pixels; 0 if absent. */
                x?: number;
                /** @description Down, in pixels; 0 if absent. */
                y?: number;
            };
            /**
             * Format: int64
             * @description Priority of its tasks; that of the run if absent.
             */
            priority?: number;
            /** @description When a failed attempt is tried again; that of the task definition if absent. */
            retry?: components["schemas"]["dev.plum.v1.Retry2"];
            /** @description task: name of the TaskDefinition, or of a builtin such as `builtin.echo`. */
            taskRef?: string;
            /** @description Longest time of one attempt. */
            timeout?: string;
            /**
             * @description When it starts, judged by the nodes it waits for. If absent all_success, after a branch none_failed_min_one_success.
             * @enum {string}
             */
            triggerRule?: "all_success" | "one_success" | "all_failed" | "one_failed" | "all_done" | "none_failed" | "all_skipped" | "one_done" | "none_skipped" | "none_failed_min_one_success" | "all_done_min_one_success" | "always";
            /**
             * @description What it does; task if absent.
             * @enum {string}
             */
            type?: "task" | "branch" | "parallel" | "loop" | "map" | "subworkflow" | "wait" | "http" | "script" | "agent" | "llm" | "mcp" | "database" | "email" | "webhook" | "operation" | "condition";
            /** @description loop: expression; no further iteration once it is true, asked after each. */
            until?: string;
            /** @description loop, map: name of the loop variable, used as `loop.NAME`; `i` or `item` if absent. */
            variable?: string;
            /** @description wait: what it waits for. */
            wait?: components["schemas"]["dev.plum.v1.Wait"];
            /**
             * @description parallel: whether it is done when all or any of the nodes after it are; all if absent.
             * @enum {string}
             */
            waitPolicy?: "all" | "any";
            /** @description Expression; the node is skipped unless it is true. */
            when?: string;
            /** @description loop: expression; another iteration while it is true, asked before each. */
            while?: string;
            /** @description subworkflow: name of the Workflow. */
            workflowRef?: string;
        };
        "dev.plum.v1.Nodes3": {
            /** @description loop, map: graph run once for each iteration or item. */
            body?: components["schemas"]["dev.plum.v1.Body3"];
            /** @description branch: named outcomes instead of one condition. */
            cases?: {
                /** @description Expression; the first case that is true is taken. */
                condition: string;
                /** @description Name that edges carry. */
                name: string;
            }[];
            /** @description branch, condition: the classic form `{sourceTask, field, operator, value}` instead of an expression. */
            compare?: components["schemas"]["dev.plum.v1.Compare"];
            /** @description How many of its tasks go on at once, over all runs. */
            concurrency?: components["schemas"]["dev.plum.v1.Concurrency2"];
            /** @description branch, condition: expression; edges from here carry `true` or `false`. */
            condition?: string;
            /** @description http, script, agent, llm, mcp, database, email, webhook, operation: settings of the step; expressions are allowed. */
            config?: Record<string, never>;
            /** @description A failure here does not fail the run. */
            continueOnFailure?: boolean;
            /**
             * Format: int64
             * @description loop: number of iterations.
             */
            count?: number;
            /** @description branch: outcome when no case is true. */
            defaultCase?: string;
            /** @description subworkflow: the machine that carries out its run, with or without the controller; the controller does if absent. */
            delegate?: components["schemas"]["dev.plum.v1.Delegate"];
            /** @description Nodes it waits for. Names alone are accepted. */
            dependsOn?: components["schemas"]["dev.plum.v1.DependsOn"][];
            /** @description For people. */
            description?: string;
            /** @description Name for people. */
            displayName?: string;
            /**
             * @description What happens to an attempt whose end nobody saw; as the task definition says if absent.
             * @enum {string}
             */
            execution?: "AtLeastOnce" | "AtMostOnce";
            /** @description map: a list, or an expression that gives one. */
            items?: unknown;
            /** @description map: bodies that may fail without failing the node, as a count or a percentage; 0 if absent. */
            maxFailures?: number | string;
            /**
             * Format: int64
             * @description loop: the run fails when it would need more; 10,000 if absent.
             */
            maxIterations?: number;
            /**
             * Format: int64
             * @description map, parallel: most bodies at once; all if absent.
             */
            maxParallel?: number;
            /** @description Unique in its graph; other nodes read its output as `nodes.NAME.output`. */
            name: string;
            /** @description Machine that executes it. */
            nodeName?: string;
            /** @description Labels of the machine or worker that executes it. */
            nodeSelector?: {
                [key: string]: string;
            };
            /** @description subworkflow: parameters of its run; expressions are allowed. */
            params?: Record<string, never>;
            /** @description Input; expressions are allowed. */
            payload?: Record<string, never>;
            /** @description Where it is drawn. */
            position?: {
                /** @description To the right, in pixels; 0 if absent. */
                x?: number;
                /** @description Down, in pixels; 0 if absent. */
                y?: number;
            };
            /**
             * Format: int64
             * @description Priority of its tasks; that of the run if absent.
             */
            priority?: number;
            /** @description When a failed attempt is tried again; that of the task definition if absent. */
            retry?: components["schemas"]["dev.plum.v1.Retry2"];
            /** @description task: name of the TaskDefinition, or of a builtin such as `builtin.echo`. */
            taskRef?: string;
            /** @description Longest time of one attempt. */
            timeout?: string;
            /**
             * @description When it starts, judged by the nodes it waits for. If absent all_success, after a branch none_failed_min_one_success.
             * @enum {string}
             */
            triggerRule?: "all_success" | "one_success" | "all_failed" | "one_failed" | "all_done" | "none_failed" | "all_skipped" | "one_done" | "none_skipped" | "none_failed_min_one_success" | "all_done_min_one_success" | "always";
            /**
             * @description What it does; task if absent.
             * @enum {string}
             */
            type?: "task" | "branch" | "parallel" | "loop" | "map" | "subworkflow" | "wait" | "http" | "script" | "agent" | "llm" | "mcp" | "database" | "email" | "webhook" | "operation" | "condition";
            /** @description loop: expression; no further iteration once it is true, asked after each. */
            until?: string;
            /** @description loop, map: name of the loop variable, used as `loop.NAME`; `i` or `item` if absent. */
            variable?: string;
            /** @description wait: what it waits for. */
            wait?: components["schemas"]["dev.plum.v1.Wait"];
            /**
             * @description parallel: whether it is done when all or any of the nodes after it are; all if absent.
             * @enum {string}
             */
            waitPolicy?: "all" | "any";
            /** @description Expression; the node is skipped unless it is true. */
            when?: string;
            /** @description loop: expression; another iteration while it is true, asked before each. */
            while?: string;
            /** @description subworkflow: name of the Workflow. */
            workflowRef?: string;
        };
        "dev.plum.v1.Nodes4": {
            /** @description loop, map: graph run once for each iteration or item. */
            body?: Record<string, never>;
            /** @description branch: named outcomes instead of one condition. */
            cases?: {
                /** @description Expression; the first case that is true is taken. */
                condition: string;
                /** @description Name that edges carry. */
                name: string;
            }[];
            /** @description branch, condition: the classic form `{sourceTask, field, operator, value}` instead of an expression. */
            compare?: components["schemas"]["dev.plum.v1.Compare"];
            /** @description How many of its tasks go on at once, over all runs. */
            concurrency?: components["schemas"]["dev.plum.v1.Concurrency2"];
            /** @description branch, condition: expression; edges from here carry `true` or `false`. */
            condition?: string;
            /** @description http, script, agent, llm, mcp, database, email, webhook, operation: settings of the step; expressions are allowed. */
            config?: Record<string, never>;
            /** @description A failure here does not fail the run. */
            continueOnFailure?: boolean;
            /**
             * Format: int64
             * @description loop: number of iterations.
             */
            count?: number;
            /** @description branch: outcome when no case is true. */
            defaultCase?: string;
            /** @description subworkflow: the machine that carries out its run, with or without the controller; the controller does if absent. */
            delegate?: components["schemas"]["dev.plum.v1.Delegate"];
            /** @description Nodes it waits for. Names alone are accepted. */
            dependsOn?: components["schemas"]["dev.plum.v1.DependsOn"][];
            /** @description For people. */
            description?: string;
            /** @description Name for people. */
            displayName?: string;
            /**
             * @description What happens to an attempt whose end nobody saw; as the task definition says if absent.
             * @enum {string}
             */
            execution?: "AtLeastOnce" | "AtMostOnce";
            /** @description map: a list, or an expression that gives one. */
            items?: unknown;
            /** @description map: bodies that may fail without failing the node, as a count or a percentage; 0 if absent. */
            maxFailures?: number | string;
            /**
             * Format: int64
             * @description loop: the run fails when it would need more; 10,000 if absent.
             */
            maxIterations?: number;
            /**
             * Format: int64
             * @description map, parallel: most bodies at once; all if absent.
             */
            maxParallel?: number;
            /** @description Unique in its graph; other nodes read its output as `nodes.NAME.output`. */
            name: string;
            /** @description Machine that executes it. */
            nodeName?: string;
            /** @description Labels of the machine or worker that executes it. */
            nodeSelector?: {
                [key: string]: string;
            };
            /** @description subworkflow: parameters of its run; expressions are allowed. */
            params?: Record<string, never>;
            /** @description Input; expressions are allowed. */
            payload?: Record<string, never>;
            /** @description Where it is drawn. */
            position?: {
                /** @description To the right, in pixels; 0 if absent. */
                x?: number;
                /** @description Down, in pixels; 0 if absent. */
                y?: number;
            };
            /**
             * Format: int64
             * @description Priority of its tasks; that of the run if absent.
             */
            priority?: number;
            /** @description When a failed attempt is tried again; that of the task definition if absent. */
            retry?: components["schemas"]["dev.plum.v1.Retry2"];
            /** @description task: name of the TaskDefinition, or of a builtin such as `builtin.echo`. */
            taskRef?: string;
            /** @description Longest time of one attempt. */
            timeout?: string;
            /**
             * @description When it starts, judged by the nodes it waits for. If absent all_success, after a branch none_failed_min_one_success.
             * @enum {string}
             */
            triggerRule?: "all_success" | "one_success" | "all_failed" | "one_failed" | "all_done" | "none_failed" | "all_skipped" | "one_done" | "none_skipped" | "none_failed_min_one_success" | "all_done_min_one_success" | "always";
            /**
             * @description What it does; task if absent.
             * @enum {string}
             */
            type?: "task" | "branch" | "parallel" | "loop" | "map" | "subworkflow" | "wait" | "http" | "script" | "agent" | "llm" | "mcp" | "database" | "email" | "webhook" | "operation" | "condition";
            /** @description loop: expression; no further iteration once it is true, asked after each. */
            until?: string;
            /** @description loop, map: name of the loop variable, used as `loop.NAME`; `i` or `item` if absent. */
            variable?: string;
            /** @description wait: what it waits for. */
            wait?: components["schemas"]["dev.plum.v1.Wait"];
            /**
             * @description parallel: whether it is done when all or any of the nodes after it are; all if absent.
             * @enum {string}
             */
            waitPolicy?: "all" | "any";
            /** @description Expression; the node is skipped unless it is true. */
            when?: string;
            /** @description loop: expression; another iteration while it is true, asked before each. */
            while?: string;
            /** @description subworkflow: name of the Workflow. */
            workflowRef?: string;
        };
        "dev.plum.v1.OnFailure": {
            /** @description Nodes of the graph. */
            nodes?: components["schemas"]["dev.plum.v1.Nodes3"][];
        };
        /** @description Something a device is asked to do. */
        "dev.plum.v1.Operation": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description What is asked. */
            spec: {
                /** @description Arguments, checked against the model. */
                arguments?: Record<string, never>;
                /** @description True asks to stop it. */
                canceled?: boolean;
                /**
                 * @description AtMostOnce is sent once and may end as Unknown; AtLeastOnce is sent again until the device confirms it.
                 * @default AtMostOnce
                 * @enum {string}
                 */
                delivery?: "AtMostOnce" | "AtLeastOnce";
                /** @description In whose name it is asked for, while the Resource is reserved; a controlling owner counts without being named here. */
                holder?: {
                    /**
                     * @description Kind of the object, in the namespace of the Resource.
                     * @enum {string}
                     */
                    kind: "Instance" | "WorkflowRun";
                    /** @description Its name. */
                    name: string;
                };
                /** @description The device executes operations with the same key once; the uid of the object if absent. */
                idempotencyKey?: string;
                /** @description Operation of its model. */
                method: string;
                /** @description Time from creation after which it must not be started; no limit if absent. */
                notAfter?: string;
                /** @description Name of the Resource. */
                resourceRef: string;
                /** @description Longest time of the execution; no limit if absent. */
                timeout?: string;
                /** @description Taints of the Resource that do not keep it away. */
                tolerations?: components["schemas"]["dev.plum.v1.Tolerations"][];
            };
            /** @description How far it is. */
            status?: {
                /**
                 * Format: date-time
                 * @description When the device confirmed it, by the clock of its node.
                 */
                acceptedAt?: string;
                /**
                 * Format: int64
                 * @description Times the device confirmed it; above 1 only with AtLeastOnce.
                 * @default 0
                 */
                attempt?: number;
                /** @description Succeeded: Unknown until it ends. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: date-time
                 * @description When it was sent last, by the clock of the controller.
                 */
                deliveredAt?: string;
                /**
                 * Format: int64
                 * @description Times it was sent.
                 * @default 0
                 */
                deliveries?: number;
                /** @description What went wrong. */
                error?: string;
                /**
                 * Format: date-time
                 * @description When it may no longer be started.
                 */
                expiresAt?: string;
                /**
                 * Format: date-time
                 * @description When it ended, by the clock of whoever saw it.
                 */
                finishedAt?: string;
                /** @description Node whose agent hands it to the device; empty: the controller does, or nobody yet. */
                node?: string;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * @description Where it is in its life.
                 * @default Queued
                 * @enum {string}
                 */
                phase?: "Queued" | "Delivered" | "Accepted" | "Running" | "Succeeded" | "Failed" | "Expired" | "Canceled" | "Unknown";
                /** @description Share that is done, 0 to 1, where the device says so. */
                progress?: number;
                /** @description Why it is where it is, in CamelCase: Offline, Reserved, DeviceFailed, Timeout, ... */
                reason?: string;
                /** @description What the device answered. */
                result?: unknown;
                /**
                 * Format: int64
                 * @description Place in the order in which operations were asked for; they are carried out in it.
                 * @default 0
                 */
                sequence?: number;
                /** @description Connection of the device that confirmed it. */
                session?: string;
                /**
                 * Format: date-time
                 * @description When the device began, by the clock of its node.
                 */
                startedAt?: string;
            };
        };
        /** @description OperationList is a list of Operation. */
        "dev.plum.v1.OperationList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Operation"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Params": {
            /** @description Value when the run gives none; a parameter without one must be given. */
            default?: unknown;
            /** @description For people and forms. */
            description?: string;
            /** @description Values that are allowed; all if empty. */
            enum?: unknown[];
            /** @description Name, used as `params.NAME`. */
            name: string;
            /** @description The run must give a value, even if there is a default of null. */
            required?: boolean;
            /**
             * @description Type of the value; string if absent.
             * @enum {string}
             */
            type?: "string" | "integer" | "number" | "boolean" | "object" | "array";
        };
        "dev.plum.v1.Plugin": {
            /** @description What it is told besides the payload; the plugin says what it understands. */
            config?: Record<string, never>;
            /** @description Name of its entry point in the group `plum.executors`. */
            name: string;
        };
        "dev.plum.v1.Ports": {
            /**
             * Format: int64
             * @description Number on the node for a container with a network of its own; the same as `port` if absent.
             */
            hostPort?: number;
            /** @description Name of the port, for probes and services. */
            name: string;
            /**
             * Format: int64
             * @description Number the workload listens on; 0 lets the agent choose a free one.
             */
            port: number;
            /**
             * @description What is spoken there: http, https, grpc, tcp or udp; tcp if absent.
             * @enum {string}
             */
            protocol?: "http" | "https" | "grpc" | "tcp" | "udp";
        };
        "dev.plum.v1.Preferred": {
            /** @description Which nodes. */
            preference: components["schemas"]["dev.plum.v1.Required"];
            /**
             * Format: int64
             * @description Points such a node gets.
             */
            weight: number;
        };
        "dev.plum.v1.Preferred2": {
            /** @description Which neighbours. */
            term: components["schemas"]["dev.plum.v1.Required2"];
            /**
             * Format: int64
             * @description Points such a node gets.
             */
            weight: number;
        };
        "dev.plum.v1.PreStop": {
            /** @description A program. */
            exec?: {
                /** @description Program and arguments. A single string is split as a shell would, without a shell. */
                command: string[];
            };
            /** @description A GET. */
            http?: components["schemas"]["dev.plum.v1.Http"];
            /** @description Only wait. */
            sleep?: {
                /** @description How long. */
                duration: string;
            };
        };
        "dev.plum.v1.Probes": {
            /** @description When it fails the run is stopped and restarted by restartPolicy. */
            liveness?: components["schemas"]["dev.plum.v1.Startup"];
            /** @description Ready while it succeeds: takes requests and counts as available. Without it, ready once started. */
            readiness?: components["schemas"]["dev.plum.v1.Startup"];
            /** @description Until it succeeds the others wait; when it fails the run is stopped and counts as failed. */
            startup?: components["schemas"]["dev.plum.v1.Startup"];
        };
        "dev.plum.v1.Process": {
            /** @description Program and arguments. A single string is split as a shell would, without a shell. If absent, the payload says what is executed: `{command, args, workingDir, input, env}`. */
            command?: string[];
            /** @description Environment variables. A map from name to value is accepted. */
            env?: components["schemas"]["dev.plum.v1.Env"][];
            /** @description Text on its standard input; the payload as JSON if empty. */
            input?: string;
            /** @description User it runs as; the agent's own if absent. */
            user?: string;
            /** @description Folder it starts in. */
            workingDir?: string;
        };
        "dev.plum.v1.Required": {
            /** @description Demands on labels. */
            matchExpressions?: components["schemas"]["dev.plum.v1.MatchExpressions"][];
            /** @description Demands on `metadata.name`. */
            matchFields?: components["schemas"]["dev.plum.v1.MatchExpressions"][];
        };
        "dev.plum.v1.Required2": {
            /** @description Which instances. */
            labelSelector: components["schemas"]["dev.plum.v1.LabelSelector"];
            /** @description Namespaces of those instances; its own if empty. */
            namespaces?: string[];
            /** @description Node label whose values are the groups; `plum.dev/hostname` means the same node. */
            topologyKey: string;
        };
        "dev.plum.v1.Reservations": {
            /**
             * @description Exclusive: nobody else holds it, and operations of others are refused. Shared: with others that share it. Exclusive if absent.
             * @enum {string}
             */
            mode?: "Exclusive" | "Shared";
            /** @description Name of the Resource, in the same namespace. */
            resource: string;
        };
        "dev.plum.v1.Reservations2": {
            /**
             * @description Kind of the holder.
             * @enum {string}
             */
            kind: "Instance" | "WorkflowRun";
            /**
             * @description Exclusive: nobody else holds it at the same time, and operations of others are refused. Exclusive if absent.
             * @enum {string}
             */
            mode?: "Exclusive" | "Shared";
            /** @description Its name. */
            name: string;
            /** @description Why it waits. */
            reason?: string;
            /**
             * Format: date-time
             * @description When it was granted; absent while it waits.
             */
            since?: string;
            /** @description Its uid. */
            uid: string;
        };
        /** @description A device as a twin: desired and reported values, and operations. */
        "dev.plum.v1.Resource": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /**
             * @description What it is, and what it should be.
             * @default {}
             */
            spec?: {
                /** @description For people. */
                description?: string;
                /** @description Values it should have, by property. */
                desired?: Record<string, never>;
                /** @description How it is reached. */
                driver?: {
                    /** @description By HTTP. */
                    http?: {
                        /** @description Headers to send. */
                        headers?: {
                            [key: string]: string;
                        };
                        /** @description How often values are read with GET; never if absent. */
                        poll?: string;
                        /**
                         * @description An answer later than this is a failure.
                         * @default 5s
                         */
                        timeout?: string;
                        /** @description Address of the device. */
                        url: string;
                    };
                    /** @description Through a worker. */
                    worker?: {
                        /** @description Name of the task that gets `{resource, method, arguments}`. */
                        task: string;
                    };
                };
                /**
                 * @description How often it reports; after two of them without a word it is offline.
                 * @default 15s
                 */
                heartbeat?: string;
                /**
                 * @description How many reported values are kept.
                 * @default {}
                 */
                history?: {
                    /**
                     * @description Older ones are removed.
                     * @default 7d
                     */
                    maxAge?: string;
                    /**
                     * Format: int64
                     * @description Most values kept of each property.
                     * @default 10000
                     */
                    maxCount?: number;
                };
                /** @description What it knows and can do. */
                model?: {
                    /** @description What it can be asked to do. */
                    operations?: {
                        /** @description Arguments. */
                        arguments?: {
                            /** @description Value when the call gives none. */
                            default?: unknown;
                            /** @description For people. */
                            description?: string;
                            /** @description Values that are allowed; required for type enum. */
                            enum?: unknown[];
                            /** @description Largest number. */
                            max?: number;
                            /** @description Smallest number. */
                            min?: number;
                            /** @description Name of the value. */
                            name: string;
                            /** @description The call must give it. */
                            required?: boolean;
                            /**
                             * @description Type of the value.
                             * @enum {string}
                             */
                            type: "string" | "integer" | "double" | "boolean" | "enum" | "object" | "array";
                            /** @description Unit, for people. */
                            unit?: string;
                        }[];
                        /** @description For people. */
                        description?: string;
                        /** @description Name of the operation. */
                        name: string;
                    }[];
                    /** @description Values it reports, and takes unless they are read-only. */
                    properties?: {
                        /** @description For people. */
                        description?: string;
                        /** @description Values that are allowed; required for type enum. */
                        enum?: unknown[];
                        /** @description Largest number. */
                        max?: number;
                        /** @description Smallest number. */
                        min?: number;
                        /** @description Name of the value. */
                        name: string;
                        /** @description Only the device writes it; it cannot be desired. */
                        readOnly?: boolean;
                        /** @description A reported value older than this is stale; that of the resource if absent. */
                        staleAfter?: string;
                        /**
                         * @description Type of the value.
                         * @enum {string}
                         */
                        type: "string" | "integer" | "double" | "boolean" | "enum" | "object" | "array";
                        /** @description Unit, for people. */
                        unit?: string;
                    }[];
                };
                /** @description Node it is connected to. */
                nodeName?: string;
                /**
                 * Format: int64
                 * @description Operations under way at the same time; the others wait in the order in which they were asked for.
                 * @default 1
                 */
                operationsAtOnce?: number;
                /**
                 * Format: int64
                 * @description Operations that may wait or be under way; more are refused with 429.
                 * @default 1000
                 */
                queueLimit?: number;
                /** @description A reported value older than this is stale; never if absent. */
                staleAfter?: string;
                /** @description Keep operations and reservations away that do not tolerate them: NoSchedule lets them wait, NoExecute also cancels operations that wait and ends reservations. */
                taints?: components["schemas"]["dev.plum.v1.Taints"][];
                /** @description Kind of device, such as `Radar`. */
                type?: string;
            };
            /** @description What it said it is. */
            status?: {
                /** @description Online, Synced. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /** @description Whether it is there. */
                connection?: {
                    /**
                     * Format: date-time
                     * @description When it was last heard of; written at least when online changes.
                     */
                    lastSeen?: string;
                    /** @description Node it is connected to. */
                    node?: string;
                    /** @description It was heard of within two heartbeats. */
                    online?: boolean;
                    /** @description Why it is offline: Silent, NodeLost, NodeGone, DriverFailed, NoWorker. */
                    reason?: string;
                    /** @description Connection it last reported through. */
                    session?: string;
                };
                /** @description Properties whose reported value is not the desired one. */
                delta?: {
                    [key: string]: {
                        /** @description What it should be. */
                        desired?: unknown;
                        /** @description What it is. */
                        reported?: unknown;
                    };
                };
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /** @description Values the device reported, by property. */
                reported?: {
                    [key: string]: {
                        /**
                         * Format: date-time
                         * @description When the device measured it, by its own clock.
                         */
                        deviceTime?: string;
                        /**
                         * @description How far it can be trusted; good if absent.
                         * @enum {string}
                         */
                        quality?: "good" | "uncertain" | "bad" | "stale";
                        /**
                         * Format: date-time
                         * @description When the controller got it.
                         */
                        time?: string;
                        /** @description The value. */
                        value?: unknown;
                    };
                };
                /** @description Who holds it. */
                reservations?: components["schemas"]["dev.plum.v1.Reservations2"][];
                /** @description Who waits for it, in the order in which they get it. */
                waiting?: components["schemas"]["dev.plum.v1.Reservations2"][];
            };
        };
        /** @description ResourceList is a list of Resource. */
        "dev.plum.v1.ResourceList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Resource"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Resources": {
            /** @description Devices of the node it holds alone, by the names in the node's `status.devices`. */
            devices?: string[];
            /** @description Most it may use: `cpu`, `memory`, for containers also `pids`. Condition ResourceLimits: does the node enforce them? */
            limits?: {
                [key: string]: number | string;
            };
            /** @description Reserved on the node: `cpu`, `memory`, or any resource that nodes announce. */
            requests?: {
                [key: string]: number | string;
            };
        };
        "dev.plum.v1.Retry": {
            /**
             * @description Each wait is this many times the one before.
             * @default 2
             */
            factor?: number;
            /**
             * @description Wait before the first retry.
             * @default 1s
             */
            initial?: string;
            /**
             * @description Random share by which each wait is shortened or lengthened.
             * @default 0
             */
            jitter?: number;
            /**
             * Format: int64
             * @description Attempts after the first.
             * @default 0
             */
            limit?: number;
            /**
             * @description Longest wait.
             * @default 5m
             */
            max?: string;
            /** @description Reasons, exit codes or HTTP status codes that are tried again; all failures if empty. */
            on?: string[];
        };
        "dev.plum.v1.Retry2": {
            /** @description Each wait is this many times the one before. */
            factor?: number;
            /** @description Wait before the first retry. */
            initial?: string;
            /** @description Random share by which each wait is shortened or lengthened. */
            jitter?: number;
            /**
             * Format: int64
             * @description Attempts after the first.
             */
            limit?: number;
            /** @description Longest wait. */
            max?: string;
            /** @description Reasons, exit codes or HTTP status codes that are tried again; all failures if empty. */
            on?: string[];
        };
        /** @description One version of a Deployment's template or a Workflow's definition. */
        "dev.plum.v1.Revision": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description The version. */
            spec: {
                /** @description Why it was made: the annotation `kubernetes.io/change-cause` of the object. */
                changeCause?: string;
                /** @description Definition of a Workflow. */
                definition?: Record<string, never>;
                /** @description Hash of the content; part of the names of instances made from it. */
                hash: string;
                /**
                 * Format: int64
                 * @description Counts up for each object; the highest is the current one.
                 */
                number: number;
                /** @description The object this is a version of. */
                target: {
                    /**
                     * @description Kind of the object.
                     * @enum {string}
                     */
                    kind: "Deployment" | "Workflow";
                    /** @description Name of the object. */
                    name: string;
                };
                /** @description Template of a Deployment. */
                template?: components["schemas"]["dev.plum.v1.Template"];
            };
            /** @description Whether it ever worked. */
            status?: {
                /**
                 * Format: date-time
                 * @description When all wanted instances of it were available for the first time.
                 */
                availableAt?: string;
                /** @description Available. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: date-time
                 * @description When its rollout failed; a rollback never goes to a revision that failed and never was available.
                 */
                failedAt?: string;
                /** @description A sentence for people. */
                message?: string;
                /** @description CamelCase: Available, ProgressDeadlineExceeded, ... */
                reason?: string;
            };
        };
        /** @description RevisionList is a list of Revision. */
        "dev.plum.v1.RevisionList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Revision"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.SecretKeyRef": {
            /** @description Key inside it. */
            key: string;
            /** @description Name of the Secret or ConfigMap. */
            name: string;
            /** @description Start without the variable when the object or the key is missing. */
            optional?: boolean;
        };
        "dev.plum.v1.Secrets": {
            /** @description Key in it. */
            key: string;
            /** @description The text; nothing else in the payload may hold it. */
            marker: string;
            /** @description Name of the Secret, in the namespace of the run. */
            name: string;
        };
        "dev.plum.v1.SecurityContext": {
            /** @description Programs may gain more rights than their parent, by setuid bits or file capabilities. */
            allowPrivilegeEscalation?: boolean;
            /** @description Changes to the engine's default set. */
            capabilities?: components["schemas"]["dev.plum.v1.Capabilities"];
            /** @description The workload cannot write into its image; mounts stay as they are. */
            readOnlyRootFilesystem?: boolean;
            /**
             * @description Filter of system calls.
             * @default {}
             */
            seccompProfile?: {
                /**
                 * @description RuntimeDefault: those of the engine's own profile. Unconfined: all.
                 * @default RuntimeDefault
                 * @enum {string}
                 */
                type?: "RuntimeDefault" | "Unconfined";
            };
        };
        /** @description A name under which ready instances are found. */
        "dev.plum.v1.Service": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /**
             * @description Which instances it finds.
             * @default {}
             */
            spec?: {
                /** @description Spares an endpoint that fails. */
                circuitBreaker?: {
                    /**
                     * Format: int64
                     * @description Failures in a row that open the circuit.
                     * @default 5
                     */
                    failures?: number;
                    /**
                     * @description Time until one request is let through to see.
                     * @default 30s
                     */
                    openFor?: string;
                };
                /** @description For consistentHash and sticky: what the choice follows, such as `header:X-User` or `payload.customer`. */
                hashKey?: string;
                /** @description Checks of endpoints that no agent probes. */
                healthCheck?: components["schemas"]["dev.plum.v1.HealthCheck"];
                /** @description Leaves out endpoints that fail more often than the others. */
                outlierEjection?: {
                    /**
                     * Format: int64
                     * @description Share of failed requests that ejects an endpoint.
                     * @default 50
                     */
                    errorPercent?: number;
                    /**
                     * @description Time over which requests are counted.
                     * @default 30s
                     */
                    interval?: string;
                    /**
                     * Format: int64
                     * @description Most endpoints that may be left out at once.
                     * @default 50
                     */
                    maxEjectedPercent?: number;
                    /**
                     * Format: int64
                     * @description Requests in the interval below which nothing is concluded.
                     * @default 20
                     */
                    minRequests?: number;
                };
                /** @description Port of the selected instances by number or by name; their first if absent. */
                port?: number | string;
                /** @description What is spoken; the protocol of the port if absent. */
                protocol?: string;
                /**
                 * @description Another try on another endpoint.
                 * @default {}
                 */
                retries?: {
                    /**
                     * Format: int64
                     * @description Tries after the first.
                     * @default 1
                     */
                    limit?: number;
                    /** @description What is retried: status codes such as `503`, and `connect`, `reset`, `timeout`. Empty: connect only. */
                    on?: string[];
                };
                /** @description Labels of the instances; empty: those whose template names this service, and endpoints made by hand. */
                selector?: {
                    [key: string]: string;
                };
                /**
                 * @description How one endpoint is chosen.
                 * @default roundRobin
                 * @enum {string}
                 */
                strategy?: "random" | "roundRobin" | "leastActive" | "consistentHash" | "sticky";
                /**
                 * @description Longest time of one request.
                 * @default 30s
                 */
                timeout?: string;
                /** @description Version of the endpoints made by this selector. */
                version?: string;
            };
            /** @description What was last seen. */
            status?: {
                /** @description Available. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: int64
                 * @description Endpoints of this service.
                 * @default 0
                 */
                endpoints?: number;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * Format: int64
                 * @description Endpoints that take requests.
                 * @default 0
                 */
                passing?: number;
            };
        };
        "dev.plum.v1.Service2": {
            /** @description For consistentHash and sticky: what the choice follows. */
            hashKey?: string;
            /** @description Name of the service. */
            name: string;
            /**
             * @description Path, or the full name of the method for grpc.
             * @default /
             */
            path?: string;
            /**
             * @description What is spoken.
             * @default http
             * @enum {string}
             */
            protocol?: "http" | "https" | "grpc";
            /**
             * @description How one endpoint is chosen.
             * @default roundRobin
             * @enum {string}
             */
            strategy?: "random" | "roundRobin" | "leastActive" | "consistentHash" | "sticky";
            /** @description Only endpoints of this version. */
            version?: string;
        };
        /** @description ServiceList is a list of Service. */
        "dev.plum.v1.ServiceList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Service"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Services": {
            /** @description Labels of the endpoints. */
            labels?: {
                [key: string]: string;
            };
            /** @description Name clients resolve. */
            name: string;
            /** @description Port by number or by name. */
            port: number | string;
            /** @description What is spoken there; the protocol of the port if absent. */
            protocol?: string;
            /** @description Version clients may ask for. */
            version?: string;
            /**
             * Format: int64
             * @description Share of requests against other endpoints of the service; 100 if absent, 0 takes none.
             */
            weight?: number;
        };
        "dev.plum.v1.Spec": {
            /** @description How many runs go on at once. */
            concurrency?: components["schemas"]["dev.plum.v1.Concurrency"];
            /** @description For executor container. */
            container?: components["schemas"]["dev.plum.v1.Container"];
            /** @description Payload fields a run gets unless it says otherwise. */
            defaultPayload?: Record<string, never>;
            /** @description For people. */
            description?: string;
            /**
             * @description What happens to an attempt whose end nobody saw: AtLeastOnce repeats it, AtMostOnce ends the run as Unknown.
             * @default AtLeastOnce
             * @enum {string}
             */
            execution?: "AtLeastOnce" | "AtMostOnce";
            /**
             * @description embedded: a builtin or a registered worker; service: a call to an endpoint; os_process and container: on a node; http: any address on the allow list; plugin: an installed executor.
             * @default embedded
             * @enum {string}
             */
            executor?: "embedded" | "service" | "os_process" | "container" | "http" | "plugin";
            /** @description For executor http. */
            http?: components["schemas"]["dev.plum.v1.Http2"];
            /** @description The one node that executes it. */
            nodeName?: string;
            /** @description Labels of the node or worker that executes it. */
            nodeSelector?: {
                [key: string]: string;
            };
            /** @description JSON Schema the payload must satisfy. */
            payloadSchema?: Record<string, never>;
            /** @description For executor plugin. */
            plugin?: components["schemas"]["dev.plum.v1.Plugin"];
            /**
             * Format: int64
             * @description Higher ones are executed first.
             * @default 0
             */
            priority?: number;
            /** @description For executor os_process. */
            process?: components["schemas"]["dev.plum.v1.Process"];
            /** @description What it needs and may use, for os_process and container. */
            resources?: components["schemas"]["dev.plum.v1.Resources"];
            /**
             * @description When a failed attempt is tried again.
             * @default {}
             */
            retry?: components["schemas"]["dev.plum.v1.Retry"];
            /** @description For executor service. */
            service?: components["schemas"]["dev.plum.v1.Service2"];
            /** @description For embedded: the name a worker registered, or a builtin such as `builtin.echo`; the name of the object if absent. */
            task?: string;
            /** @description Longest time of one attempt; the whole process tree is killed then. No limit if absent. */
            timeout?: string;
            /** @description Taints it accepts, for os_process and container. */
            tolerations?: components["schemas"]["dev.plum.v1.Tolerations"][];
        };
        "dev.plum.v1.Startup": {
            /** @description A program. */
            exec?: {
                /** @description Program and arguments. A single string is split as a shell would, without a shell. */
                command: string[];
            };
            /**
             * Format: int64
             * @description Failures in a row that change the state to bad.
             * @default 3
             */
            failureThreshold?: number;
            /** @description The standard gRPC health service. */
            grpc?: {
                /** @description Port by number or by name. */
                port: number | string;
                /** @description Service to ask about; the whole server if empty. */
                service?: string;
            };
            /** @description A GET. */
            http?: components["schemas"]["dev.plum.v1.Http"];
            /**
             * @description Wait after the start before the first question.
             * @default 0s
             */
            initialDelay?: string;
            /**
             * @description Time between questions.
             * @default 10s
             */
            period?: string;
            /**
             * Format: int64
             * @description Successes in a row that change the state to good.
             * @default 1
             */
            successThreshold?: number;
            /** @description A connection. */
            tcp?: {
                /** @description Host to connect to; the instance itself if absent. */
                host?: string;
                /** @description Port by number or by name. */
                port: number | string;
            };
            /**
             * @description An answer later than this is a failure.
             * @default 1s
             */
            timeout?: string;
        };
        /** @description Makes the store equal to a folder, a Git repository or an offline bundle. */
        "dev.plum.v1.Sync": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description What to make the store equal to. */
            spec: {
                /** @description Revision whose deletions are approved although they are more than maxDelete. */
                approveDelete?: string;
                /** @description Secret with the age identities (`AGE-SECRET-KEY-...`) that open encrypted manifests. */
                decryption?: components["schemas"]["dev.plum.v1.SecretKeyRef"];
                /** @description Syncs of this namespace that must be healthy first. */
                dependsOn?: string[];
                /**
                 * @description What happens when somebody else changed a field.
                 * @default Correct
                 * @enum {string}
                 */
                driftPolicy?: "Correct" | "Report";
                /** @description Take fields from other owners instead of reporting a conflict. */
                force?: boolean;
                /** @description When objects of user-defined kinds are healthy. */
                health?: {
                    /** @description API version of the kind. */
                    apiVersion: string;
                    /** @description Expression in CEL over `self`: true when it will not become healthy by itself. */
                    failed?: string;
                    /** @description Expression in CEL over `self`: true when the object is healthy. */
                    healthy: string;
                    /** @description The kind. */
                    kind: string;
                }[];
                /** @description Stay at an earlier revision. */
                hold?: {
                    /** @description Newest revision when the hold was written: a newer one releases it. */
                    newest?: string;
                    /** @description Why. */
                    reason?: string;
                    /** @description Revision to apply instead of the newest. */
                    revision: string;
                };
                /** @description Files to leave alone, as patterns: `*.test.yaml`, `drafts/*`. */
                ignore?: string[];
                /**
                 * @description How often source and store are compared when nothing tells of a change.
                 * @default 1m
                 */
                interval?: string;
                /**
                 * @description Most objects one sync may delete, as a count or a share of the inventory; more stops it and asks.
                 * @default 20%
                 */
                maxDelete?: number | string;
                /** @description Delete objects that left the source. */
                prune?: boolean;
                /**
                 * @description Read folders inside the folder.
                 * @default true
                 */
                recurse?: boolean;
                /** @description ServiceAccount of its namespace with whose rights it plans, applies, deletes and reads Secrets; with those of the controller if absent, which only who may do everything may ask for. */
                serviceAccountName?: string;
                /** @description Where the manifests are. */
                source: {
                    /** @description An offline bundle. */
                    bundle?: {
                        /** @description Path of the bundle. */
                        path: string;
                        /** @description Checksum it must have; that of the file `PATH.sha256` if absent and there is one. */
                        sha256?: string;
                        /** @description Where to begin inside. Overlays may use what is beside that. */
                        subfolder?: string;
                    };
                    /** @description A folder. */
                    folder?: {
                        /** @description Folder, or one file; a relative one is below the controller's working folder. */
                        path: string;
                        /** @description Where to begin below it. Overlays may use what is beside that. */
                        subfolder?: string;
                    };
                    /** @description A Git repository. */
                    git?: {
                        /** @description Branch; the default branch if neither branch, tag nor commit is set. */
                        branch?: string;
                        /** @description Certificates (PEM) that may sign the host's, instead of the system's. */
                        ca?: string;
                        /** @description Commit. */
                        commit?: string;
                        /** @description Keys that the host may show, as lines of an OpenSSH `known_hosts` file. Needed for ssh. */
                        knownHosts?: string;
                        /** @description Folder inside the repository. */
                        path?: string;
                        /** @description Token (https) or private key (ssh), in a Secret of the Sync's namespace. */
                        secretRef?: components["schemas"]["dev.plum.v1.SecretKeyRef"];
                        /** @description Tag. */
                        tag?: string;
                        /** @description Address of the repository: `https://`, `ssh://`, `git@HOST:PATH`, `file://` or a path. */
                        url: string;
                        /** @description User for a token; `git` if absent. */
                        username?: string;
                        /** @description Secret that calls of the webhook are signed with. There is no webhook without. */
                        webhookSecretRef?: components["schemas"]["dev.plum.v1.SecretKeyRef"];
                    };
                };
                /** @description Values for `${NAME}` in manifests. */
                substitute?: {
                    /** @description Objects with further values; later ones go before earlier ones. */
                    from?: {
                        /** @description Name of a ConfigMap in the Sync's namespace. */
                        configMap?: string;
                        /** @description Go on when it does not exist. */
                        optional?: boolean;
                        /** @description Name of a Secret in the Sync's namespace. */
                        secret?: string;
                    }[];
                    /** @description Values by name. They go before those of `from`. */
                    variables?: {
                        [key: string]: string;
                    };
                };
                /** @description Change nothing. */
                suspend?: boolean;
                /** @description Why, for people. */
                suspendReason?: string;
                /**
                 * Format: date-time
                 * @description Change nothing until this time.
                 */
                suspendUntil?: string;
                /** @description Namespace for manifests without one; its own if absent. */
                targetNamespace?: string;
                /**
                 * @description Longest wait for the health of one wave.
                 * @default 5m
                 */
                waitTimeout?: string;
            };
            /** @description How far it is. */
            status?: {
                /**
                 * Format: date-time
                 * @description When it was.
                 */
                appliedAt?: string;
                /** @description Revision that was applied completely. */
                appliedRevision?: string;
                /** @description Revision that was tried last. */
                attemptedRevision?: string;
                /** @description Ready, Healthy, Drifted, DeletesBlocked, Held. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /** @description Fields that were not as the source says, newest first; at most 100. */
                drift?: {
                    /** @description API version of the object. */
                    apiVersion: string;
                    /** @description Whether it was set right. */
                    corrected?: boolean;
                    /** @description Paths of the fields. */
                    fields?: string[];
                    /** @description Kind of the object. */
                    kind: string;
                    /** @description Who changed them. */
                    manager?: string;
                    /** @description Name of the object. */
                    name: string;
                    /** @description Namespace of the object. */
                    namespace?: string;
                    /**
                     * Format: date-time
                     * @description When it was noticed.
                     */
                    time?: string;
                }[];
                /** @description Revisions that were applied completely, newest first; at most 10. A rollback goes to one of them. */
                history?: {
                    /** @description Revision of the source. */
                    revision: string;
                    /**
                     * Format: date-time
                     * @description When it was complete.
                     */
                    time?: string;
                }[];
                /** @description Objects it applied, and those it still has to delete. */
                inventory?: {
                    /** @description API version of the object. */
                    apiVersion: string;
                    /** @description Of the manifest that was applied last: tells a change of the source from a change of the object. */
                    hash?: string;
                    /**
                     * @description Whether it is as its kind wants it.
                     * @enum {string}
                     */
                    health?: "" | "Healthy" | "Progressing" | "Degraded" | "Unknown";
                    /** @description Kind of the object. */
                    kind: string;
                    /** @description Why it is not applied, not deleted or not healthy. */
                    message?: string;
                    /** @description Name of the object. */
                    name: string;
                    /** @description Namespace of the object; empty if it is cluster-wide. */
                    namespace?: string;
                    /** @description It left the source and could not be deleted yet. */
                    pendingDelete?: boolean;
                    /**
                     * @description What became of it. Pending waits for others before it.
                     * @enum {string}
                     */
                    result?: "Pending" | "Applied" | "Failed" | "Deleting";
                }[];
                /**
                 * @description What the last sync did.
                 * @default {}
                 */
                last?: {
                    /**
                     * Format: int64
                     * @description Objects changed.
                     * @default 0
                     */
                    changed?: number;
                    /**
                     * Format: int64
                     * @description Objects created.
                     * @default 0
                     */
                    created?: number;
                    /**
                     * Format: int64
                     * @description Objects deleted.
                     * @default 0
                     */
                    deleted?: number;
                    /**
                     * Format: int64
                     * @description Objects that could not be applied.
                     * @default 0
                     */
                    failed?: number;
                    /**
                     * Format: int64
                     * @description Objects that were as they should be.
                     * @default 0
                     */
                    unchanged?: number;
                };
                /** @description A sentence for people: file and line of what is wrong. */
                message?: string;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /** @description Value of the annotation `plum.dev/sync-requested` that was carried out. */
                observedRequest?: string;
                /**
                 * @description Blocked waits for a person, such as for the approval of deletions.
                 * @default Pending
                 * @enum {string}
                 */
                phase?: "Pending" | "Synced" | "Syncing" | "Blocked" | "Failed" | "Suspended";
                /** @description Newest revision of the source: a commit, or a hash of the folder. */
                sourceRevision?: string;
                /**
                 * Format: int64
                 * @description Wave that is being applied or awaited.
                 * @default 0
                 */
                wave?: number;
                /**
                 * Format: date-time
                 * @description Since when its health is awaited.
                 */
                waveSince?: string;
            };
        };
        /** @description SyncList is a list of Sync. */
        "dev.plum.v1.SyncList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Sync"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Taints": {
            /**
             * @description NoSchedule keeps new ones away, NoExecute also removes those that run.
             * @enum {string}
             */
            effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
            /** @description Name of the taint, such as `dedicated`. */
            key: string;
            /**
             * Format: date-time
             * @description When it was added; tolerationSeconds count from here.
             */
            timeAdded?: string;
            /** @description Value that a toleration may ask for. */
            value?: string;
        };
        /** @description What one task does and how it is executed. */
        "dev.plum.v1.TaskDefinition": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /**
             * @description What it does.
             * @default {}
             */
            spec?: components["schemas"]["dev.plum.v1.Spec"];
            /** @description What was last seen. */
            status?: {
                /** @description Ready: something can execute it. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * Format: int64
                 * @description Registered workers that run it, for executor embedded.
                 * @default 0
                 */
                workers?: number;
            };
        };
        /** @description TaskDefinitionList is a list of TaskDefinition. */
        "dev.plum.v1.TaskDefinitionList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.TaskDefinition"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        /** @description One execution of a task. */
        "dev.plum.v1.TaskRun": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description What to execute. */
            spec: {
                /** @description True asks to stop; honoured in every state. */
                canceled?: boolean;
                /** @description Instead of the definition's. */
                concurrency?: components["schemas"]["dev.plum.v1.Concurrency"];
                /**
                 * Format: date-time
                 * @description No attempt starts after this time.
                 */
                deadline?: string;
                /**
                 * @description Instead of the definition's.
                 * @enum {string}
                 */
                execution?: "AtLeastOnce" | "AtMostOnce";
                /** @description How long it is kept after its end; the controller's setting if absent. */
                keepFor?: string;
                /** @description The one node that executes it, instead of the definition's. */
                nodeName?: string;
                /** @description Further labels of the node or worker that executes it. */
                nodeSelector?: {
                    [key: string]: string;
                };
                /** @description Input; fields of the definition's defaultPayload fill what is missing. */
                payload?: Record<string, never>;
                /**
                 * Format: int64
                 * @description Instead of the definition's.
                 */
                priority?: number;
                /** @description Instead of the definition's. */
                retry?: components["schemas"]["dev.plum.v1.Retry"];
                /** @description Values that whoever executes it puts into the payload; workflows make these of `${{ secrets.NAME.KEY }}`. */
                secrets?: components["schemas"]["dev.plum.v1.Secrets"][];
                /** @description True holds a run that is Queued: it is admitted once this is false again. */
                suspend?: boolean;
                /** @description A definition of its own, instead of taskRef. */
                task?: components["schemas"]["dev.plum.v1.Spec"];
                /** @description Name of the TaskDefinition, or of a builtin such as `builtin.echo`. */
                taskRef?: string;
                /** @description Instead of the definition's. */
                timeout?: string;
            };
            /** @description How far it is. */
            status?: {
                /**
                 * Format: int64
                 * @description Number of the current or last attempt; 0 before the first.
                 * @default 0
                 */
                attempt?: number;
                /** @description Attempts that have ended, oldest first; at most 20. */
                attempts?: {
                    /** @description What went wrong. */
                    error?: string;
                    /**
                     * Format: int64
                     * @description Exit code of a process or container.
                     */
                    exitCode?: number;
                    /**
                     * Format: date-time
                     * @description When it ended.
                     */
                    finishedAt?: string;
                    /** @description Node it ran on. */
                    node?: string;
                    /**
                     * Format: int64
                     * @description Counts from 1.
                     */
                    number: number;
                    /**
                     * @description How it ended.
                     * @enum {string}
                     */
                    phase: "Queued" | "Pending" | "Running" | "Succeeded" | "Failed" | "Timeout" | "Canceled" | "Unknown";
                    /** @description CamelCase: Error, Timeout, WorkerLost, ExitCode, ... */
                    reason?: string;
                    /**
                     * Format: date-time
                     * @description When it started.
                     */
                    startedAt?: string;
                    /** @description Worker that held it. */
                    worker?: string;
                }[];
                /**
                 * Format: date-time
                 * @description When the current or last attempt was taken.
                 */
                attemptStartedAt?: string;
                /** @description What its concurrency key came to; runs with the same one share the limit. */
                concurrencyKey?: string;
                /** @description Succeeded: Unknown while it runs, then True or False. ResourceLimits: are they enforced for the last attempt? */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /** @description What went wrong in the last attempt. */
                error?: string;
                /**
                 * Format: int64
                 * @description Exit code of a process or container.
                 */
                exitCode?: number;
                /**
                 * Format: int64
                 * @description Grows with every lease of the run to a worker; a result with an older one is refused.
                 * @default 0
                 */
                fencingToken?: number;
                /**
                 * Format: date-time
                 * @description When it ended for good.
                 */
                finishedAt?: string;
                /** @description The same for every attempt of this run: its uid, or `<uid of the workflow run>/<node>/<iteration>`. */
                idempotencyKey?: string;
                /**
                 * Format: date-time
                 * @description When the attempt is given to another worker unless it is renewed.
                 */
                leaseExpiresAt?: string;
                /**
                 * Format: int64
                 * @description Attempts whose end nobody saw. They are repeated without counting as retries.
                 * @default 0
                 */
                lost?: number;
                /**
                 * Format: date-time
                 * @description When the next attempt starts, while it waits for a retry.
                 */
                nextAttemptAt?: string;
                /** @description Node of the current attempt. */
                node?: string;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /** @description Result. */
                output?: unknown;
                /**
                 * @description Where it is in its life.
                 * @default Queued
                 * @enum {string}
                 */
                phase?: "Queued" | "Pending" | "Running" | "Succeeded" | "Failed" | "Timeout" | "Canceled" | "Unknown";
                /** @description Share that is done, as the worker reports it. */
                progress?: number;
                /** @description What the worker says it is doing. */
                progressMessage?: string;
                /**
                 * Format: date-time
                 * @description When it was accepted.
                 */
                queuedAt?: string;
                /** @description CamelCase word for the state, such as NoWorker, WorkerLost, ExitCode. */
                reason?: string;
                /** @description End of the current attempt as its node saw it, until the controller has recorded it. */
                report?: {
                    /**
                     * Format: int64
                     * @description Number of the attempt.
                     */
                    attempt: number;
                    /** @description What went wrong, for people. */
                    error?: string;
                    /**
                     * Format: int64
                     * @description Exit code; 128 + number after a signal.
                     */
                    exitCode?: number;
                    /**
                     * Format: int64
                     * @description Token it was taken with; a report of another one is not looked at.
                     */
                    fencingToken: number;
                    /**
                     * Format: date-time
                     * @description When it ended.
                     */
                    finishedAt?: string;
                    /**
                     * @description Exited: see exitCode. Lost: nobody saw its end. Refused: it was not started, and never will be on this node.
                     * @enum {string}
                     */
                    outcome: "Exited" | "Timeout" | "Canceled" | "Lost" | "Refused";
                    /** @description CamelCase word for what went wrong. */
                    reason?: string;
                };
                /**
                 * Format: date-time
                 * @description When the first attempt started.
                 */
                startedAt?: string;
                /** @description End of the standard error output, up to 1 MiB. */
                stderr?: string;
                /** @description End of the standard output, up to 1 MiB. */
                stdout?: string;
                /** @description What is executed: the definition when the run was admitted, with what the run says instead. It never changes. */
                task?: components["schemas"]["dev.plum.v1.Spec"];
                /** @description Worker that holds the current attempt. */
                worker?: string;
            };
        };
        /** @description TaskRunList is a list of TaskRun. */
        "dev.plum.v1.TaskRunList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.TaskRun"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Template": {
            /** @description Nodes and neighbours that are required or preferred. */
            affinity?: components["schemas"]["dev.plum.v1.Affinity"];
            /** @description Package to unpack and run; its entry (`start.sh`) is the default command. */
            artifact?: components["schemas"]["dev.plum.v1.Artifact2"];
            /**
             * @description How long the agent waits before it starts a run again.
             * @default {}
             */
            backoff?: components["schemas"]["dev.plum.v1.Backoff"];
            /** @description Program and arguments. A single string is split as a shell would, without a shell. */
            command?: string[];
            /**
             * @description What happens when its node is lost.
             * @default {}
             */
            disconnect?: components["schemas"]["dev.plum.v1.Disconnect"];
            /** @description Environment variables. A map from name to value is accepted. */
            env?: components["schemas"]["dev.plum.v1.Env"][];
            /** @description Objects all of whose keys become variables. Those of `env` win; of the same name here the last one does. */
            envFrom?: components["schemas"]["dev.plum.v1.EnvFrom"][];
            /** @description Two copies must never run at once, not even while a node is cut off: the agent stops it before its lease could be given to another. */
            exclusive?: boolean;
            /** @description Exit codes with a meaning of their own; the first rule that matches decides, before restartPolicy. */
            exitCodeRules?: components["schemas"]["dev.plum.v1.ExitCodeRules"][];
            /** @description Configuration and secrets as files. A map from path to content is accepted. */
            files?: components["schemas"]["dev.plum.v1.Files"][];
            /** @description Container image, such as `demo:1`. With an artifact: the base image it is unpacked over, the node's own if absent. */
            image?: string;
            /**
             * @description When the image is fetched from its registry. Never: only what the node has, or finds in its folder of image files.
             * @default IfNotPresent
             * @enum {string}
             */
            imagePullPolicy?: "Always" | "IfNotPresent" | "Never";
            /** @description Secrets with the credentials of registries. */
            imagePullSecrets?: {
                /** @description Name of the Secret. */
                name: string;
            }[];
            /**
             * @description Plum is process 1 of a container: passes signals on, reaps orphans. false: for images that must be process 1 themselves.
             * @default true
             */
            init?: boolean;
            /** @description What runs around the life of an instance. */
            lifecycle?: components["schemas"]["dev.plum.v1.Lifecycle"];
            /**
             * @description How much output is kept.
             * @default {}
             */
            logs?: components["schemas"]["dev.plum.v1.Logs"];
            /** @description Labels and annotations of the instances. A change of them restarts nothing. */
            metadata?: components["schemas"]["dev.plum.v1.Metadata"];
            /** @description Paths of the node inside the container. */
            mounts?: components["schemas"]["dev.plum.v1.Mounts"][];
            /**
             * @description host: a container shares the network of the node, as a process does. private: it has its own and publishes `ports`. none: it has no network.
             * @default host
             * @enum {string}
             */
            network?: "host" | "private" | "none";
            /** @description Labels a node must have. */
            nodeSelector?: {
                [key: string]: string;
            };
            /** @description Ports it listens on. Two instances with the same port do not share a node. */
            ports?: components["schemas"]["dev.plum.v1.Ports"][];
            /**
             * Format: int64
             * @description Higher ones are placed first when there is not room for all.
             * @default 0
             */
            priority?: number;
            /** @description How the agent finds out whether it has started, is ready, and is alive. */
            probes?: components["schemas"]["dev.plum.v1.Probes"];
            /** @description Devices it holds from its start to its end; it starts when all of them are free for it. */
            reservations?: components["schemas"]["dev.plum.v1.Reservations"][];
            /** @description What it needs and what it may use. */
            resources?: components["schemas"]["dev.plum.v1.Resources"];
            /**
             * @description When the agent starts a run again on the same node.
             * @default Always
             * @enum {string}
             */
            restartPolicy?: "Always" | "OnFailure" | "Never";
            /**
             * @description process runs on the node itself, container in a container of `image`.
             * @default process
             * @enum {string}
             */
            runtime?: "process" | "container";
            /**
             * @description What a container may do.
             * @default {}
             */
            securityContext?: components["schemas"]["dev.plum.v1.SecurityContext"];
            /** @description Services it offers while it is ready. */
            services?: components["schemas"]["dev.plum.v1.Services"][];
            /**
             * @description Signal that asks the process group to stop.
             * @default SIGTERM
             */
            stopSignal?: string;
            /**
             * Format: int64
             * @description Seconds between the start of the stop, preStop included, and SIGKILL.
             * @default 10
             */
            terminationGracePeriodSeconds?: number;
            /** @description Taints it accepts. */
            tolerations?: components["schemas"]["dev.plum.v1.Tolerations"][];
            /** @description Spread over zones, racks or nodes. */
            topologySpread?: components["schemas"]["dev.plum.v1.TopologySpread"][];
            /** @description User it runs as, `name` or `uid[:gid]`; the agent's own if absent. */
            user?: string;
            /** @description Folder the command starts in; a relative one is below the unpacked artifact. */
            workingDir?: string;
        };
        /** @description A bearer token, a token to join with, a node's certificate, or a browser's session. Deleting it takes effect at once. */
        "dev.plum.v1.Token": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description Whose it is. */
            spec: {
                /** @description SHA-256 of a client certificate that counts instead of a token, as long as this object is there. */
                certificate?: string;
                /** @description What it is for. */
                description?: string;
                /**
                 * Format: date-time
                 * @description When it ends; never if absent.
                 */
                expiresAt?: string;
                /** @description Groups the user belongs to when this token is used; `system:authenticated` comes by itself. */
                groups?: string[];
                /** @description SHA-256 of the token. Left out, the server makes a token and shows it once, in the answer's `status.token`. */
                hash?: string;
                /** @description Makes this a token to join with (`plum node token create`): good for nothing else, and for one node only. */
                join?: {
                    /** @description Name of the only node that may join with it. Empty: any node that is not known yet. */
                    node?: string;
                };
                /** @description Makes this the session of a browser, or a one-time link to one (`plum ui`). */
                login?: {
                    /** @description Address that it was opened from. */
                    address?: string;
                    /** @description A one-time link that opens a session, and is deleted by that. False: an open session. */
                    link?: boolean;
                    /** @description Name of the Token that it was opened with; this one ends with that. Empty: a certificate, or a person at this machine. */
                    parent?: string;
                    /** @description What the browser calls itself. */
                    userAgent?: string;
                };
                /** @description Uid of the service account: a token of one that was deleted and made again is worth nothing. */
                uid?: string;
                /** @description User name: a person, `system:node:NAME`, or `system:serviceaccount:NAMESPACE:NAME`. */
                user: string;
            };
            /** @description What became of it. */
            status?: {
                /** @description Who joined with it; absent until somebody has. */
                used?: {
                    /** @description Address it came from. */
                    address?: string;
                    /**
                     * Format: date-time
                     * @description When it came.
                     */
                    at: string;
                    /** @description SHA-256 of its public key. Whoever holds this key may ask again; nobody else. */
                    key: string;
                    /** @description Name of the node. */
                    node: string;
                };
            };
        };
        /** @description TokenList is a list of Token. */
        "dev.plum.v1.TokenList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Token"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.Tolerations": {
            /**
             * @description Effect of the taint; every effect if absent.
             * @enum {string}
             */
            effect?: "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute";
            /** @description Key of the taint; empty with operator Exists accepts every taint. */
            key?: string;
            /**
             * @description Exists accepts any value. Equal if absent.
             * @enum {string}
             */
            operator?: "Exists" | "Equal";
            /**
             * Format: int64
             * @description With NoExecute: seconds the instance stays after the taint appeared; for ever if absent.
             */
            tolerationSeconds?: number;
            /** @description Value of the taint, with operator Equal. */
            value?: string;
        };
        "dev.plum.v1.TopologySpread": {
            /** @description Instances that count; those of the same Deployment if absent. */
            labelSelector?: components["schemas"]["dev.plum.v1.LabelSelector"];
            /**
             * Format: int64
             * @description Largest difference in the number of instances between two groups; 1 if absent.
             */
            maxSkew?: number;
            /** @description Node label whose values are the groups, such as `zone`. */
            topologyKey: string;
            /**
             * @description DoNotSchedule waits, ScheduleAnyway only prefers. DoNotSchedule if absent.
             * @enum {string}
             */
            whenUnsatisfiable?: "DoNotSchedule" | "ScheduleAnyway";
        };
        /** @description Starts runs of a workflow. */
        "dev.plum.v1.Trigger": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description What it waits for and what it starts. */
            spec: {
                /** @description By an expression that becomes true. */
                condition?: {
                    /** @description Expression over objects, KV and resources. */
                    expression: string;
                    /**
                     * @description How long it must have been true.
                     * @default 0s
                     */
                    for?: string;
                };
                /** @description By the clock. */
                cron?: {
                    /**
                     * @description Which missed times are made up for when the controller was away.
                     * @default None
                     * @enum {string}
                     */
                    catchUp?: "None" | "Last" | "All";
                    /**
                     * @description What a firing does while a run of this trigger goes on.
                     * @default Allow
                     * @enum {string}
                     */
                    concurrencyPolicy?: "Allow" | "Forbid" | "Replace" | "Queue";
                    /**
                     * @description Each firing is delayed by a random part of this, the same for the same time; at most a day.
                     * @default 0s
                     */
                    jitter?: string;
                    /**
                     * Format: int64
                     * @description Most runs that catchUp All makes: the newest.
                     * @default 10
                     */
                    maxCatchUp?: number;
                    /** @description Minute, hour, day of month, month, day of week; or `@daily` and the like. */
                    schedule: string;
                    /** @description A firing that is later than this is missed; no limit if absent. */
                    startingDeadline?: string;
                    /**
                     * @description Name of a time zone, such as `Asia/Shanghai`.
                     * @default UTC
                     */
                    timezone?: string;
                };
                /**
                 * @description False fires nothing; times that pass meanwhile are not made up for.
                 * @default true
                 */
                enabled?: boolean;
                /** @description By a change of an object, or an event somebody sent. */
                event?: components["schemas"]["dev.plum.v1.Event"];
                /**
                 * Format: int64
                 * @description How many firings the status remembers.
                 * @default 10
                 */
                keepFirings?: number;
                /**
                 * @description Least time between two firings; those in between are dropped and counted. Cron is not limited.
                 * @default 0s
                 */
                minInterval?: string;
                /** @description Parameters of the runs; expressions over `event` are allowed. */
                params?: Record<string, never>;
                /**
                 * Format: int64
                 * @description Priority of the runs; that of the workflow if absent.
                 */
                priority?: number;
                /** @description After runs of another workflow. */
                run?: {
                    /** @description Ends that count; all if empty. */
                    phases?: ("Queued" | "Pending" | "Running" | "Paused" | "Succeeded" | "Failed" | "Canceled" | "Timeout")[];
                    /** @description Name of that workflow. */
                    workflowRef: string;
                };
                /** @description By a request. */
                webhook?: {
                    /**
                     * Format: int64
                     * @description Largest body; a larger one is refused.
                     * @default 262144
                     */
                    maxBodyBytes?: number;
                    /**
                     * @description Method of the request.
                     * @default POST
                     * @enum {string}
                     */
                    method?: "POST" | "PUT" | "GET";
                    /** @description Last part of the address; unique in the namespace. */
                    path: string;
                    /** @description Key of the HMAC-SHA256 signature; requests without a valid one are refused. */
                    secretRef?: components["schemas"]["dev.plum.v1.SecretKeyRef"];
                    /**
                     * @description Header with the signature as `sha256=HEX`: of timestamp, delivery and body. `X-Hub-Signature-256` is GitHub's, of the body alone.
                     * @default X-Plum-Signature
                     */
                    signatureHeader?: string;
                    /**
                     * @description How far the time that a request carries may be from the controller's.
                     * @default 5m
                     */
                    tolerance?: string;
                    /** @description Expression over `event` that must be true; other requests are answered and start nothing. */
                    when?: string;
                };
                /** @description Name of the Workflow it starts. */
                workflowRef: string;
            };
            /** @description What was last seen. */
            status?: {
                /** @description Condition: it has fired since the expression is true. */
                conditionFired?: boolean;
                /** @description Ready: it can fire. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: int64
                 * @description Runs it started.
                 * @default 0
                 */
                fired?: number;
                /** @description What it did last, newest first. */
                firings?: {
                    /**
                     * Format: date-time
                     * @description When.
                     */
                    at: string;
                    /**
                     * Format: int64
                     * @description How many this stands for.
                     */
                    count?: number;
                    /** @description A sentence for people. */
                    message?: string;
                    /** @description CamelCase: why there is no run. */
                    reason?: string;
                    /**
                     * @description Started made a run; Missed and Refused did not.
                     * @enum {string}
                     */
                    result: "Started" | "Queued" | "Missed" | "Refused";
                    /** @description Name of the run. */
                    run?: string;
                    /**
                     * Format: date-time
                     * @description Cron: the time it fired for.
                     */
                    scheduledFor?: string;
                    /** @description What made it fire: cron, event, webhook, condition, run, manual, backfill. */
                    source?: string;
                }[];
                /**
                 * Format: date-time
                 * @description When it last started a run.
                 */
                lastFiredAt?: string;
                /** @description Name of the last run. */
                lastRun?: string;
                /**
                 * Format: date-time
                 * @description Cron: the last time that was dealt with, fired or missed.
                 */
                lastScheduledTime?: string;
                /**
                 * Format: int64
                 * @description Firings that were too late, forbidden or dropped.
                 * @default 0
                 */
                missed?: number;
                /** @description Cron: the next five times. */
                nextTimes?: string[];
                /** @description Event and run: changes after it that have fired. */
                observedChanges?: string[];
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /** @description Event and run: changes up to this revision are dealt with. */
                observedRevision?: string;
                /** @description Cron: schedule and time zone that lastScheduledTime is of. Another one counts from when it was seen. */
                observedSchedule?: string;
                /** @description Cron with policy Queue: times that wait for a run to end. */
                queue?: string[];
                /**
                 * Format: date-time
                 * @description Condition: since when the expression is true.
                 */
                trueSince?: string;
            };
        };
        /** @description TriggerList is a list of Trigger. */
        "dev.plum.v1.TriggerList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Trigger"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        "dev.plum.v1.ValueFrom": {
            /** @description A key of a ConfigMap. */
            configMapKeyRef?: components["schemas"]["dev.plum.v1.SecretKeyRef"];
            /** @description A field of the instance. */
            fieldRef?: {
                /** @description Such as `metadata.name`, `metadata.namespace`, `metadata.labels['app']`, `spec.nodeName`. */
                fieldPath: string;
            };
            /** @description A key of the key-value store. */
            kvKeyRef?: {
                /** @description The key, as `plum get kvs` shows it. */
                key: string;
                /** @description Start without the value when the key is missing. */
                optional?: boolean;
            };
            /** @description A key of a Secret. */
            secretKeyRef?: components["schemas"]["dev.plum.v1.SecretKeyRef"];
        };
        "dev.plum.v1.ValueFrom2": {
            /** @description A key of a ConfigMap. */
            configMapKeyRef?: components["schemas"]["dev.plum.v1.SecretKeyRef"];
            /** @description A key of the key-value store. */
            kvKeyRef?: {
                /** @description The key, as `plum get kvs` shows it. */
                key: string;
                /** @description Start without the value when the key is missing. */
                optional?: boolean;
            };
            /** @description A key of a Secret. */
            secretKeyRef?: components["schemas"]["dev.plum.v1.SecretKeyRef"];
        };
        "dev.plum.v1.Wait": {
            /** @description Somebody must agree. */
            approval?: {
                /** @description Users or groups that may answer; everybody who may change the run if empty. */
                approvers?: string[];
                /** @description What is asked. */
                message?: string;
            };
            /** @description An expression that must become true. */
            condition?: string;
            /** @description A span of time. */
            duration?: string;
            /** @description A change of an object, or an event somebody sent. */
            event?: components["schemas"]["dev.plum.v1.Event"];
            /** @description A point in time, RFC 3339 or an expression. */
            until?: string;
        };
        /** @description A program that dialled in and runs tasks. */
        "dev.plum.v1.Worker": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /**
             * @description What it said about itself.
             * @default {}
             */
            spec?: {
                /** @description Application it belongs to. */
                appName?: string;
                /** @description Version of that application. */
                appVersion?: string;
                /**
                 * Format: int64
                 * @description Tasks it runs at once.
                 * @default 1
                 */
                capacity?: number;
                /** @description Instance it belongs to, if it is one of the fleet. */
                instanceName?: string;
                /** @description Node it runs on, if it is one of the fleet. */
                nodeName?: string;
                /**
                 * @description How it is reached: plum.worker.v1, the classic stream plum.task, or a POST to `url`.
                 * @default grpc
                 * @enum {string}
                 */
                protocol?: "grpc" | "classic" | "http";
                /** @description Names of the tasks it runs. */
                tasks?: string[];
                /** @description An http worker without a heartbeat for so long is lost. It needs none if absent. */
                ttl?: string;
                /** @description It gets nothing new and finishes what it holds. */
                unschedulable?: boolean;
                /** @description Address of an http worker. */
                url?: string;
            };
            /** @description What was last seen. */
            status?: {
                /**
                 * Format: int64
                 * @description Tasks it finished since it registered.
                 * @default 0
                 */
                completed?: number;
                /** @description Ready. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * Format: date-time
                 * @description When that session began.
                 */
                connectedAt?: string;
                /**
                 * Format: date-time
                 * @description When it was last heard of; written when it changes phase, not at every heartbeat.
                 */
                lastSeen?: string;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * @description Draining: it asked for nothing new. Lost: its lease ran out.
                 * @default Ready
                 * @enum {string}
                 */
                phase?: "Ready" | "Draining" | "Lost";
                /**
                 * Format: int64
                 * @description Tasks it holds now.
                 * @default 0
                 */
                running?: number;
                /** @description Session it is connected with. */
                session?: string;
            };
        };
        /** @description WorkerList is a list of Worker. */
        "dev.plum.v1.WorkerList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Worker"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        /** @description A graph of nodes with parameters. */
        "dev.plum.v1.Workflow": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /**
             * @description The definition.
             * @default {}
             */
            spec?: components["schemas"]["dev.plum.v1.Definition"];
            /** @description What was last seen. */
            status?: {
                /**
                 * Format: int64
                 * @description Runs that have not ended.
                 * @default 0
                 */
                activeRuns?: number;
                /** @description Ready: all it refers to exists. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /** @description Hash of the definition that new runs pin. */
                definitionHash?: string;
                /** @description How the last run that ended has ended. */
                lastPhase?: string;
                /** @description Name of the newest run. */
                lastRun?: string;
                /**
                 * Format: date-time
                 * @description When it was created.
                 */
                lastRunAt?: string;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * Format: int64
                 * @description Runs that wait for others.
                 * @default 0
                 */
                queuedRuns?: number;
                /**
                 * Format: int64
                 * @description Number of the current Revision.
                 * @default 0
                 */
                revision?: number;
                /**
                 * @description What the runs were like.
                 * @default {}
                 */
                statistics?: {
                    /**
                     * Format: int64
                     * @description Runs that ended otherwise.
                     * @default 0
                     */
                    failed?: number;
                    /**
                     * Format: int64
                     * @description Of them, others that are no longer kept.
                     * @default 0
                     */
                    forgottenFailed?: number;
                    /**
                     * Format: int64
                     * @description Of them, succeeded ones that are no longer kept.
                     * @default 0
                     */
                    forgottenSucceeded?: number;
                    /** @description Median duration of the kept runs. */
                    p50Seconds?: number;
                    /** @description Duration that 95 of 100 of the kept runs did not exceed. */
                    p95Seconds?: number;
                    /**
                     * Format: int64
                     * @description Runs that have ended.
                     * @default 0
                     */
                    runs?: number;
                    /**
                     * Format: int64
                     * @description Runs that succeeded.
                     * @default 0
                     */
                    succeeded?: number;
                };
            };
        };
        /** @description WorkflowList is a list of Workflow. */
        "dev.plum.v1.WorkflowList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.Workflow"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        /** @description One run of a Workflow. */
        "dev.plum.v1.WorkflowRun": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description Name, labels and what else every object carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /** @description What to run. */
            spec: {
                /** @description What people asked of it, oldest first. */
                commands?: {
                    /**
                     * @description What is asked.
                     * @enum {string}
                     */
                    action: "RetryFailed" | "RerunFrom" | "Skip" | "MarkSucceeded" | "MarkFailed" | "Approve" | "Reject" | "CancelNode";
                    /** @description Why, for people. */
                    message?: string;
                    /** @description Unique in the run, so that repeating the request changes nothing. */
                    name: string;
                    /** @description Node it is about, such as `scan` or `sweep[2]`. */
                    node?: string;
                    /** @description MarkSucceeded: output of the node. */
                    output?: Record<string, never>;
                    /**
                     * Format: date-time
                     * @description When it was asked.
                     */
                    requestedAt?: string;
                    /** @description Who asked. */
                    requestedBy?: string;
                }[];
                /** @description A definition of its own, instead of workflowRef. */
                definition?: components["schemas"]["dev.plum.v1.Definition"];
                /** @description Machine that carries it out, with or without the controller; the controller does if absent. */
                delegate?: components["schemas"]["dev.plum.v1.Delegate"];
                /** @description Parameters. */
                params?: Record<string, never>;
                /**
                 * Format: int64
                 * @description Higher ones are executed first; that of the workflow if absent.
                 */
                priority?: number;
                /** @description Devices it holds from its start to its end; those of its definition if absent. */
                reservations?: components["schemas"]["dev.plum.v1.Reservations"][];
                /**
                 * Format: date-time
                 * @description The time a cron trigger fired for.
                 */
                scheduledFor?: string;
                /** @description Values that marks in `params` stand for, put in only by whoever executes a node; made of `${{ secrets.NAME.KEY }}`. */
                secrets?: components["schemas"]["dev.plum.v1.Secrets"][];
                /** @description A rerun: take over the results of an earlier run. */
                startFrom?: {
                    /** @description First node to run again; the failed ones if absent. */
                    node?: string;
                    /** @description The earlier run whose results are taken over. */
                    run: string;
                };
                /**
                 * @description Paused starts nothing new; Canceled stops everything.
                 * @default Running
                 * @enum {string}
                 */
                state?: "Running" | "Paused" | "Canceled";
                /** @description Fields that the payload of every task of the run gets, instead of what its node says. */
                taskPayload?: Record<string, never>;
                /** @description Instead of the workflow's. */
                timeout?: string;
                /** @description Trigger or person that started it. */
                triggeredBy?: string;
                /** @description Name of the Workflow. */
                workflowRef?: string;
            };
            /** @description How far it is. */
            status?: {
                /** @description Succeeded: Unknown while it runs, then True or False. Paused. */
                conditions?: components["schemas"]["dev.plum.v1.Conditions"][];
                /**
                 * @description How many nodes are in each state.
                 * @default {}
                 */
                counts?: {
                    /**
                     * Format: int64
                     * @description Cancelled.
                     * @default 0
                     */
                    canceled?: number;
                    /**
                     * Format: int64
                     * @description Failed.
                     * @default 0
                     */
                    failed?: number;
                    /**
                     * Format: int64
                     * @description Wait for others.
                     * @default 0
                     */
                    pending?: number;
                    /**
                     * Format: int64
                     * @description Run now.
                     * @default 0
                     */
                    running?: number;
                    /**
                     * Format: int64
                     * @description Skipped, by a branch, a rule or a person.
                     * @default 0
                     */
                    skipped?: number;
                    /**
                     * Format: int64
                     * @description Succeeded.
                     * @default 0
                     */
                    succeeded?: number;
                    /**
                     * Format: int64
                     * @description Wait for time, an event, or a person.
                     * @default 0
                     */
                    waiting?: number;
                };
                /** @description Nodes that run now; at most 20. */
                current?: string[];
                /** @description Hash of the definition it is pinned to. */
                definitionHash?: string;
                /**
                 * Format: int64
                 * @description Grows when a node takes the run and when it is given up; what comes with an older one is refused.
                 * @default 0
                 */
                fencingToken?: number;
                /**
                 * Format: date-time
                 * @description When it ended.
                 */
                finishedAt?: string;
                /** @description A sentence for people: which node failed and why. */
                message?: string;
                /** @description Node it is delegated to. */
                node?: string;
                /**
                 * Format: int64
                 * @description Commands that were carried out.
                 * @default 0
                 */
                observedCommands?: number;
                /**
                 * Format: int64
                 * @description Generation of the spec this status speaks of.
                 * @default 0
                 */
                observedGeneration?: number;
                /**
                 * Format: date-time
                 * @description Since when its node does not answer. The run goes on there; what is shown of it is what was last heard.
                 */
                outOfContactSince?: string;
                /** @description Outputs of the workflow. */
                outputs?: Record<string, never>;
                /**
                 * @description Where it is in its life.
                 * @default Queued
                 * @enum {string}
                 */
                phase?: "Queued" | "Pending" | "Running" | "Paused" | "Succeeded" | "Failed" | "Canceled" | "Timeout";
                /** @description CamelCase word for the phase, such as NodeFailed. */
                reason?: string;
                /**
                 * Format: int64
                 * @description Number of the Revision it is pinned to.
                 * @default 0
                 */
                revision?: number;
                /**
                 * Format: date-time
                 * @description When its first node started.
                 */
                startedAt?: string;
            };
        };
        /** @description WorkflowRunList is a list of WorkflowRun. */
        "dev.plum.v1.WorkflowRunList": {
            /** @description Group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description The objects. */
            items: components["schemas"]["dev.plum.v1.WorkflowRun"][];
            /** @description The type of this object. */
            kind?: string;
            /**
             * @description What every list carries.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
        };
        /** @description Scale is the size of something that has copies. */
        "io.k8s.api.autoscaling.v1.Scale": {
            /** @description APIVersion is the group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description Kind names the type of this object in CamelCase. */
            kind?: string;
            /**
             * @description Metadata of the object.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"];
            /**
             * @description What is wanted.
             * @default {}
             */
            spec?: components["schemas"]["io.k8s.api.autoscaling.v1.ScaleSpec"];
            /**
             * @description What is.
             * @default {}
             */
            status?: components["schemas"]["io.k8s.api.autoscaling.v1.ScaleStatus"];
        };
        /** @description ScaleSpec is the wanted size. */
        "io.k8s.api.autoscaling.v1.ScaleSpec": {
            /**
             * Format: int32
             * @description Wanted number of copies.
             */
            replicas?: number;
        };
        /** @description ScaleStatus is the actual size. */
        "io.k8s.api.autoscaling.v1.ScaleStatus": {
            /**
             * Format: int32
             * @description Actual number of copies.
             * @default 0
             */
            replicas: number;
            /** @description Label selector of the copies, as text. */
            selector?: string;
        };
        /** @description DeleteOptions say how to delete. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions": {
            /** @description APIVersion is the group and version of the schema this object is written in. */
            apiVersion?: string;
            /** @description All: do not store. */
            dryRun?: string[];
            /**
             * Format: int64
             * @description Seconds the object may take to end.
             */
            gracePeriodSeconds?: number;
            /** @description Kind names the type of this object in CamelCase. */
            kind?: string;
            /** @description Use propagationPolicy. */
            orphanDependents?: boolean;
            /** @description What must hold. */
            preconditions?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.Preconditions"];
            /** @description Background, Foreground or Orphan. */
            propagationPolicy?: string;
        };
        /** @description A set of fields, as a tree. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": Record<string, never>;
        /** @description JSONPatch is a list of operations, in the order they are done (RFC 6902). */
        "io.k8s.apimachinery.pkg.apis.meta.v1.JSONPatch": {
            /** @description Where move and copy take the value from. */
            from?: string;
            /**
             * @description What to do.
             * @enum {string}
             */
            op: "add" | "remove" | "replace" | "move" | "copy" | "test";
            /** @description Where, as a JSON pointer. */
            path: string;
            /** @description The value to add, replace or compare. */
            value?: unknown;
        }[];
        /** @description ListMeta is what every list carries. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta": {
            /** @description Token for the next page; empty on the last. */
            continue?: string;
            /**
             * Format: int64
             * @description How many objects follow.
             */
            remainingItemCount?: number;
            /** @description Store position the list shows. */
            resourceVersion?: string;
            /** @description Not set any more. */
            selfLink?: string;
        };
        /** @description ManagedFieldsEntry is the set of fields one manager owns. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry": {
            /** @description Version of the kind the set is written in. */
            apiVersion?: string;
            /** @description Always FieldsV1. */
            fieldsType?: string;
            /** @description The set. */
            fieldsV1?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"];
            /** @description Who owns the fields. */
            manager?: string;
            /** @description Apply or Update. */
            operation?: string;
            /** @description The subresource the fields were written through. */
            subresource?: string;
            /** @description When the set last changed. */
            time?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.Time"];
        };
        /** @description ObjectMeta is what every stored object carries. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {
            /** @description Annotations hold data of tools; they are not used to select objects. */
            annotations?: {
                [key: string]: string;
            };
            /** @description When the object was created. Set by the server. */
            creationTimestamp?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.Time"];
            /**
             * Format: int64
             * @description Seconds the object may take to end. Set by the server.
             */
            deletionGracePeriodSeconds?: number;
            /** @description When deletion was asked for. Set by the server. */
            deletionTimestamp?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.Time"];
            /** @description Who must clean up before the object is removed. */
            finalizers?: string[];
            /** @description Prefix of a name that the server completes, when name is empty. */
            generateName?: string;
            /**
             * Format: int64
             * @description Version of the desired state. Set by the server.
             */
            generation?: number;
            /** @description Labels select and group objects. */
            labels?: {
                [key: string]: string;
            };
            /** @description Which manager set which fields. */
            managedFields?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry"][];
            /** @description Name is unique within its kind and namespace and never changes. */
            name?: string;
            /** @description Namespace the object lives in; empty for cluster-wide kinds. */
            namespace?: string;
            /** @description Objects this one is deleted with. */
            ownerReferences?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference"][];
            /** @description Store position of the last write. Compare for equality; sent back, it guards an update. */
            resourceVersion?: string;
            /** @description Not set any more. */
            selfLink?: string;
            /** @description Identifies this incarnation of the name. Set by the server. */
            uid?: string;
        };
        /** @description OwnerReference names an owner in the same namespace, or a cluster-wide one. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference": {
            /**
             * @description API version of the owner.
             * @default
             */
            apiVersion: string;
            /** @description A foreground deletion of the owner waits for this object. */
            blockOwnerDeletion?: boolean;
            /** @description This owner manages the object. */
            controller?: boolean;
            /**
             * @description Kind of the owner.
             * @default
             */
            kind: string;
            /**
             * @description Name of the owner.
             * @default
             */
            name: string;
            /**
             * @description UID of the owner.
             * @default
             */
            uid: string;
        };
        /** @description Patch changes part of an object. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": Record<string, never>;
        /** @description Preconditions must hold, or nothing is deleted. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.Preconditions": {
            /** @description Delete only this version. */
            resourceVersion?: string;
            /** @description Delete only this incarnation. */
            uid?: string;
        };
        /** @description Status answers a request that has no object to answer with. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.Status": {
            /** @description APIVersion is the group and version of the schema this object is written in. */
            apiVersion?: string;
            /**
             * Format: int32
             * @description The HTTP status code.
             */
            code?: number;
            /** @description More about the cause. */
            details?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.StatusDetails"];
            /** @description Kind names the type of this object in CamelCase. */
            kind?: string;
            /** @description For people. */
            message?: string;
            /**
             * @description Metadata of a list.
             * @default {}
             */
            metadata?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"];
            /** @description For programs. */
            reason?: string;
            /** @description Success or Failure. */
            status?: string;
        };
        /** @description StatusCause is one problem. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.StatusCause": {
            /** @description The field. */
            field?: string;
            /** @description For people. */
            message?: string;
            /** @description For programs. */
            reason?: string;
        };
        /** @description StatusDetails say what a Status is about. */
        "io.k8s.apimachinery.pkg.apis.meta.v1.StatusDetails": {
            /** @description The problems. */
            causes?: components["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.StatusCause"][];
            /** @description Group of the kind. */
            group?: string;
            /** @description The kind. */
            kind?: string;
            /** @description Name of the object. */
            name?: string;
            /**
             * Format: int32
             * @description When to try again.
             */
            retryAfterSeconds?: number;
            /** @description UID of the object. */
            uid?: string;
        };
        /**
         * Format: date-time
         * @description A time in RFC 3339, in UTC.
         */
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time": string;
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export type operations = Record<string, never>;
