"""The manifests of the design, as users were promised them. They change only when the promise does."""

from __future__ import annotations

MANIFESTS = """
apiVersion: plum.dev/v1
kind: Deployment
metadata: {name: web, labels: {site: pier3}}
spec:
  replicas: 3
  state: Running
  strategy:
    {type: RollingUpdate, maxSurge: 1, maxUnavailable: 0, minReadySeconds: 2, progressDeadlineSeconds: 60, onFailure: Rollback}
  template:
    metadata: {labels: {app: web}}
    runtime: process
    artifact: {name: demo-app, version: 1.0.0}
    image: demo:1
    command: ["python3", "-m", "http.server", "8080"]
    env: [{name: MODE, value: demo}, {name: TOKEN, valueFrom: {secretKeyRef: {name: web, key: token}}}]
    workingDir: .
    ports: [{name: http, port: 8080, protocol: http}]
    services: [{name: orders, port: http, version: 1.0.0}]
    resources: {requests: {cpu: 100m, memory: 32Mi}, limits: {memory: 128Mi}}
    probes:
      readiness: {http: {port: http, path: /}, period: 2s, timeout: 1s, failureThreshold: 3}
    restartPolicy: Always
    backoff: {initial: 1s, factor: 2, max: 5m, resetAfter: 10m}
    terminationGracePeriodSeconds: 10
    nodeSelector: {zone: a}
    tolerations: [{key: dedicated, operator: Exists, effect: NoSchedule}]
    topologySpread: [{topologyKey: zone, maxSkew: 1}]
    exclusive: false
    disconnect: {replace: true, lostAfter: 30s, reconcile: keepOriginal}
status:
  observedGeneration: 4
  replicas: 3
  readyReplicas: 3
  availableReplicas: 3
  updatedReplicas: 3
  revision: 2
  conditions:
    - {type: Available, status: "True", reason: AllAvailable, message: all are, lastTransitionTime: "2026-05-01T10:00:00Z"}
---
apiVersion: plum.dev/v1
kind: Instance
metadata: {name: web-5f0c9ac4-0}
spec: {nodeName: node-1, state: Running, template: {command: ["./start.sh"]}}
status:
  phase: Running
  pid: 4711
  startedAt: "2026-05-01T10:00:00Z"
  restarts: 0
  lastExit: {code: 137, signal: SIGKILL, finishedAt: "2026-05-01T09:00:00Z"}
  ready: true
  conditions: [{type: Ready, status: "True", reason: ProbeSucceeded}]
---
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: resize}
spec:
  executor: embedded
  task: resize
  nodeSelector: {zone: a}
  defaultPayload: {width: 100}
  payloadSchema: {type: object}
  timeout: 30s
  retry: {limit: 3, initial: 1s, factor: 2, max: 30s, jitter: 0.2}
  priority: 0
  concurrency: {key: "${{ payload.customer }}", limit: 2, onLimit: Queue}
  execution: AtLeastOnce
---
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: resize-by-service}
spec:
  executor: service
  service: {name: orders, path: /run, protocol: http, version: 1.0.0, strategy: roundRobin}
---
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: resize-by-process}
spec:
  executor: os_process
  process: {command: ["python3", "script.py"], env: [], workingDir: /opt/x, input: ""}
---
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: resize-by-container}
spec:
  executor: container
  container: {image: tools:1, command: ["resize"]}
---
apiVersion: plum.dev/v1
kind: TaskDefinition
metadata: {name: resize-by-http}
spec:
  executor: http
  http: {method: POST, url: https://example.com/resize, headers: {}}
---
apiVersion: plum.dev/v1
kind: TaskRun
metadata: {name: resize-1}
spec: {taskRef: resize, payload: {width: 200}}
status:
  phase: Succeeded
  attempt: 1
  worker: w-1
  node: node-1
  startedAt: "2026-05-01T10:00:00Z"
  finishedAt: "2026-05-01T10:00:01Z"
  output: {width: 200}
  error: ""
---
apiVersion: plum.dev/v1
kind: Workflow
metadata: {name: inspect-area}
spec:
  state: Active
  params: [{name: zone, type: integer, default: 4}]
  concurrencyPolicy: Allow
  timeout: 1h
  nodes:
    - {name: scan, type: task, taskRef: scan, payload: {zone: "${{ params.zone }}"}, timeout: 2m, retry: {limit: 2}}
    - {name: found, type: branch, dependsOn: [scan], condition: "nodes.scan.output.contacts > 0"}
    - {name: photo, type: task, taskRef: photo, dependsOn: [{node: found, on: "true"}]}
    - {name: alert, type: task, taskRef: alert, dependsOn: [{node: found, on: "true"}]}
    - name: again
      type: loop
      dependsOn: [{node: found, on: "false"}]
      count: 3
      variable: i
      body:
        nodes: [{name: sweep, type: task, taskRef: sweep, payload: {pass: "${{ loop.i }}"}}]
    - {name: close, type: task, taskRef: close, dependsOn: [photo, alert, again], triggerRule: none_failed_min_one_success}
  outputs: {contacts: "${{ nodes.scan.output.contacts }}"}
  onFailure: {nodes: [{name: tell, type: task, taskRef: tell}]}
  finally: {nodes: [{name: clean, type: task, taskRef: clean}]}
---
apiVersion: plum.dev/v1
kind: WorkflowRun
metadata: {name: inspect-area-1}
spec: {workflowRef: inspect-area, params: {zone: 7}, priority: 5}
status:
  phase: Running
  definitionHash: 5f0c9ac4
  startedAt: "2026-05-01T10:00:00Z"
  counts: {succeeded: 3, running: 1, pending: 4}
  outputs: {}
  conditions: [{type: Succeeded, status: Unknown, reason: Running}]
---
apiVersion: plum.dev/v1
kind: Trigger
metadata: {name: nightly}
spec:
  workflowRef: inspect-area
  params: {zone: 1}
  enabled: true
  cron: {schedule: "0 2 * * *", timezone: Asia/Shanghai, concurrencyPolicy: Forbid, startingDeadline: 10m, catchUp: Last}
---
apiVersion: plum.dev/v1
kind: Trigger
metadata: {name: by-event}
spec:
  workflowRef: inspect-area
  event: {kind: Resource, name: radar-07, when: "object.status.reported.active.value == true"}
---
apiVersion: plum.dev/v1
kind: Trigger
metadata: {name: by-webhook}
spec: {workflowRef: inspect-area, webhook: {path: inspect, secretRef: {name: hook, key: hmac}}}
---
apiVersion: plum.dev/v1
kind: Trigger
metadata: {name: by-condition}
spec: {workflowRef: inspect-area, condition: {expression: "kv('plant','level') > 80", for: 10s}}
---
apiVersion: plum.dev/v1
kind: Trigger
metadata: {name: by-run}
spec: {workflowRef: inspect-area, run: {workflowRef: other, phases: [Failed]}}
---
apiVersion: plum.dev/v1
kind: Resource
metadata: {name: radar-07}
spec:
  type: Radar
  nodeName: node-1
  driver: {http: {url: http://10.0.0.21:45001/resource/op}}
  model:
    properties: [{name: range, type: double, unit: m, min: 100, max: 5000}, {name: active, type: boolean, readOnly: true}]
    operations: [{name: calibrate, arguments: [{name: mode, type: string, enum: [fast, full]}]}]
  desired: {range: 1500}
status:
  reported: {range: {value: 812.5, time: "2026-05-01T10:00:00Z", quality: good}}
  delta: {range: {desired: 1500, reported: 812.5}}
  connection: {online: true, lastSeen: "2026-05-01T10:00:00Z", node: node-1}
---
apiVersion: plum.dev/v1
kind: Operation
metadata: {name: calibrate-1}
spec: {resourceRef: radar-07, method: calibrate, arguments: {mode: fast}, notAfter: 30s, delivery: AtMostOnce}
---
apiVersion: plum.dev/v1
kind: KV
metadata: {name: task.progress, namespace: kv-demo}
spec: {type: int, value: 40, ttl: 10m}
---
apiVersion: plum.dev/v1
kind: Sync
metadata: {name: fleet}
spec:
  source: {folder: {path: ./fleet}}
  interval: 1m
  prune: true
  maxDelete: 20%
  driftPolicy: Correct
  suspend: false
---
apiVersion: plum.dev/v1
kind: Node
metadata: {name: node-1, labels: {zone: a}}
spec: {unschedulable: false, taints: [], leaseSeconds: 15}
status:
  conditions: [{type: Ready, status: "True"}]
  capacity: {cpu: "2", memory: 24Gi}
  allocatable: {cpu: "2", memory: 22Gi}
  addresses: [{type: InternalIP, address: 10.0.0.1}]
  agentVersion: 0.1.0
  runtimes: [process, container]
---
apiVersion: plum.dev/v1
kind: Service
metadata: {name: orders}
spec: {selector: {app: web}, port: http, protocol: http, version: 1.0.0, strategy: roundRobin, healthCheck: {http: {port: http}}}
---
apiVersion: plum.dev/v1
kind: Artifact
metadata: {name: demo-app-1.0.0}
spec:
  name: demo-app
  version: 1.0.0
  sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  size: 12345
  entry: start.sh
  services: [{name: orders, protocol: http, port: 8080}]
"""
