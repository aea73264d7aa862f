// Generated from the controller's description of its API by `npm run api`. Do not edit.
import type { PrinterColumn } from '../columns'

export const columns: Record<string, PrinterColumn[]> = {
 "/Namespace": [
  {
   "name": "Status",
   "path": ".status.phase",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  }
 ],
 "/Event": [
  {
   "name": "Last seen",
   "path": ".lastTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Type",
   "path": ".type",
   "type": "string",
   "wide": false
  },
  {
   "name": "Reason",
   "path": ".reason",
   "type": "string",
   "wide": false
  },
  {
   "name": "Kind",
   "path": ".involvedObject.kind",
   "type": "string",
   "wide": false
  },
  {
   "name": "Object",
   "path": ".involvedObject.name",
   "type": "string",
   "wide": false
  },
  {
   "name": "Message",
   "path": ".message",
   "type": "string",
   "wide": false
  },
  {
   "name": "Count",
   "path": ".count",
   "type": "integer",
   "wide": true
  },
  {
   "name": "Component",
   "path": ".source.component",
   "type": "string",
   "wide": true
  }
 ],
 "/Secret": [
  {
   "name": "Type",
   "path": ".type",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  }
 ],
 "/ConfigMap": [
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  }
 ],
 "/ServiceAccount": [
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  }
 ],
 "plum.dev/Deployment": [
  {
   "name": "Ready",
   "path": ".status.readyReplicas",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Desired",
   "path": ".spec.replicas",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Updated",
   "path": ".status.updatedReplicas",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Available",
   "path": ".status.availableReplicas",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Status",
   "path": ".status.conditions[?(@.type==\"Progressing\")].reason",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "State",
   "path": ".spec.state",
   "type": "string",
   "wide": true
  },
  {
   "name": "Revision",
   "path": ".status.revision",
   "type": "integer",
   "wide": true
  },
  {
   "name": "Runtime",
   "path": ".spec.template.runtime",
   "type": "string",
   "wide": true
  },
  {
   "name": "Artifact",
   "path": ".spec.template.artifact.name",
   "type": "string",
   "wide": true
  },
  {
   "name": "Image",
   "path": ".spec.template.image",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Instance": [
  {
   "name": "Phase",
   "path": ".status.phase",
   "type": "string",
   "wide": false
  },
  {
   "name": "Ready",
   "path": ".status.ready",
   "type": "boolean",
   "wide": false
  },
  {
   "name": "Restarts",
   "path": ".status.restarts",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Node",
   "path": ".spec.nodeName",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Reason",
   "path": ".status.reason",
   "type": "string",
   "wide": true
  },
  {
   "name": "PID",
   "path": ".status.pid",
   "type": "integer",
   "wide": true
  },
  {
   "name": "Started",
   "path": ".status.startedAt",
   "type": "date",
   "wide": true
  },
  {
   "name": "Last exit",
   "path": ".status.lastExit.code",
   "type": "integer",
   "wide": true
  },
  {
   "name": "Address",
   "path": ".status.address",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Artifact": [
  {
   "name": "App",
   "path": ".spec.name",
   "type": "string",
   "wide": false
  },
  {
   "name": "Version",
   "path": ".spec.version",
   "type": "string",
   "wide": false
  },
  {
   "name": "Type",
   "path": ".spec.type",
   "type": "string",
   "wide": false
  },
  {
   "name": "Size",
   "path": ".spec.size",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Stored",
   "path": ".status.conditions[?(@.type==\"Stored\")].status",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "SHA256",
   "path": ".spec.sha256",
   "type": "string",
   "wide": true
  },
  {
   "name": "Image",
   "path": ".spec.image",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Service": [
  {
   "name": "Passing",
   "path": ".status.passing",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Endpoints",
   "path": ".status.endpoints",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Protocol",
   "path": ".spec.protocol",
   "type": "string",
   "wide": false
  },
  {
   "name": "Version",
   "path": ".spec.version",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Strategy",
   "path": ".spec.strategy",
   "type": "string",
   "wide": true
  },
  {
   "name": "Port",
   "path": ".spec.port",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Endpoint": [
  {
   "name": "Service",
   "path": ".spec.service",
   "type": "string",
   "wide": false
  },
  {
   "name": "State",
   "path": ".status.state",
   "type": "string",
   "wide": false
  },
  {
   "name": "Address",
   "path": ".spec.address",
   "type": "string",
   "wide": false
  },
  {
   "name": "Port",
   "path": ".spec.port",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Protocol",
   "path": ".spec.protocol",
   "type": "string",
   "wide": false
  },
  {
   "name": "Version",
   "path": ".spec.version",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Instance",
   "path": ".spec.instanceName",
   "type": "string",
   "wide": true
  },
  {
   "name": "Node",
   "path": ".spec.nodeName",
   "type": "string",
   "wide": true
  },
  {
   "name": "Weight",
   "path": ".spec.weight",
   "type": "integer",
   "wide": true
  }
 ],
 "plum.dev/Node": [
  {
   "name": "Ready",
   "path": ".status.conditions[?(@.type==\"Ready\")].status",
   "type": "string",
   "wide": false
  },
  {
   "name": "Cordoned",
   "path": ".spec.unschedulable",
   "type": "boolean",
   "wide": false
  },
  {
   "name": "Version",
   "path": ".status.agentVersion",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Reason",
   "path": ".status.conditions[?(@.type==\"Ready\")].reason",
   "type": "string",
   "wide": true
  },
  {
   "name": "Address",
   "path": ".status.addresses[?(@.type==\"InternalIP\")].address",
   "type": "string",
   "wide": true
  },
  {
   "name": "CPU",
   "path": ".status.capacity.cpu",
   "type": "string",
   "wide": true
  },
  {
   "name": "Memory",
   "path": ".status.capacity.memory",
   "type": "string",
   "wide": true
  },
  {
   "name": "Runtimes",
   "path": ".status.runtimes",
   "type": "string",
   "wide": true
  },
  {
   "name": "Lease",
   "path": ".spec.leaseSeconds",
   "type": "integer",
   "wide": true
  }
 ],
 "plum.dev/Worker": [
  {
   "name": "Phase",
   "path": ".status.phase",
   "type": "string",
   "wide": false
  },
  {
   "name": "Running",
   "path": ".status.running",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Capacity",
   "path": ".spec.capacity",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Tasks",
   "path": ".spec.tasks",
   "type": "string",
   "wide": false
  },
  {
   "name": "Node",
   "path": ".spec.nodeName",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "App",
   "path": ".spec.appName",
   "type": "string",
   "wide": true
  },
  {
   "name": "Version",
   "path": ".spec.appVersion",
   "type": "string",
   "wide": true
  },
  {
   "name": "Completed",
   "path": ".status.completed",
   "type": "integer",
   "wide": true
  }
 ],
 "plum.dev/TaskDefinition": [
  {
   "name": "Executor",
   "path": ".spec.executor",
   "type": "string",
   "wide": false
  },
  {
   "name": "Task",
   "path": ".spec.task",
   "type": "string",
   "wide": false
  },
  {
   "name": "Timeout",
   "path": ".spec.timeout",
   "type": "string",
   "wide": false
  },
  {
   "name": "Retries",
   "path": ".spec.retry.limit",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Ready",
   "path": ".status.conditions[?(@.type==\"Ready\")].status",
   "type": "string",
   "wide": true
  },
  {
   "name": "Priority",
   "path": ".spec.priority",
   "type": "integer",
   "wide": true
  }
 ],
 "plum.dev/TaskRun": [
  {
   "name": "Task",
   "path": ".spec.taskRef",
   "type": "string",
   "wide": false
  },
  {
   "name": "Phase",
   "path": ".status.phase",
   "type": "string",
   "wide": false
  },
  {
   "name": "Attempt",
   "path": ".status.attempt",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Worker",
   "path": ".status.worker",
   "type": "string",
   "wide": false
  },
  {
   "name": "Node",
   "path": ".status.node",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Started",
   "path": ".status.startedAt",
   "type": "date",
   "wide": true
  },
  {
   "name": "Finished",
   "path": ".status.finishedAt",
   "type": "date",
   "wide": true
  },
  {
   "name": "Error",
   "path": ".status.error",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Workflow": [
  {
   "name": "State",
   "path": ".spec.state",
   "type": "string",
   "wide": false
  },
  {
   "name": "Revision",
   "path": ".status.revision",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Active",
   "path": ".status.activeRuns",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Last",
   "path": ".status.lastPhase",
   "type": "string",
   "wide": false
  },
  {
   "name": "Last run",
   "path": ".status.lastRunAt",
   "type": "date",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Version",
   "path": ".spec.version",
   "type": "string",
   "wide": true
  },
  {
   "name": "Owner",
   "path": ".spec.owner",
   "type": "string",
   "wide": true
  },
  {
   "name": "Ready",
   "path": ".status.conditions[?(@.type==\"Ready\")].status",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/WorkflowRun": [
  {
   "name": "Workflow",
   "path": ".spec.workflowRef",
   "type": "string",
   "wide": false
  },
  {
   "name": "Phase",
   "path": ".status.phase",
   "type": "string",
   "wide": false
  },
  {
   "name": "Succeeded",
   "path": ".status.counts.succeeded",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Running",
   "path": ".status.counts.running",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Failed",
   "path": ".status.counts.failed",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Started",
   "path": ".status.startedAt",
   "type": "date",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Finished",
   "path": ".status.finishedAt",
   "type": "date",
   "wide": true
  },
  {
   "name": "Node",
   "path": ".status.node",
   "type": "string",
   "wide": false
  },
  {
   "name": "Away",
   "path": ".status.outOfContactSince",
   "type": "date",
   "wide": false
  },
  {
   "name": "By",
   "path": ".spec.triggeredBy",
   "type": "string",
   "wide": true
  },
  {
   "name": "Message",
   "path": ".status.message",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Trigger": [
  {
   "name": "Workflow",
   "path": ".spec.workflowRef",
   "type": "string",
   "wide": false
  },
  {
   "name": "Schedule",
   "path": ".spec.cron.schedule",
   "type": "string",
   "wide": false
  },
  {
   "name": "Enabled",
   "path": ".spec.enabled",
   "type": "boolean",
   "wide": false
  },
  {
   "name": "Last",
   "path": ".status.lastFiredAt",
   "type": "date",
   "wide": false
  },
  {
   "name": "Next",
   "path": ".status.nextTimes[0]",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Timezone",
   "path": ".spec.cron.timezone",
   "type": "string",
   "wide": true
  },
  {
   "name": "Fired",
   "path": ".status.fired",
   "type": "integer",
   "wide": true
  },
  {
   "name": "Missed",
   "path": ".status.missed",
   "type": "integer",
   "wide": true
  }
 ],
 "plum.dev/Resource": [
  {
   "name": "Type",
   "path": ".spec.type",
   "type": "string",
   "wide": false
  },
  {
   "name": "Online",
   "path": ".status.connection.online",
   "type": "boolean",
   "wide": false
  },
  {
   "name": "Node",
   "path": ".spec.nodeName",
   "type": "string",
   "wide": false
  },
  {
   "name": "Synced",
   "path": ".status.conditions[?(@.type==\"Synced\")].status",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Last seen",
   "path": ".status.connection.lastSeen",
   "type": "date",
   "wide": true
  }
 ],
 "plum.dev/Operation": [
  {
   "name": "Resource",
   "path": ".spec.resourceRef",
   "type": "string",
   "wide": false
  },
  {
   "name": "Method",
   "path": ".spec.method",
   "type": "string",
   "wide": false
  },
  {
   "name": "Phase",
   "path": ".status.phase",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Finished",
   "path": ".status.finishedAt",
   "type": "date",
   "wide": true
  },
  {
   "name": "Node",
   "path": ".status.node",
   "type": "string",
   "wide": true
  },
  {
   "name": "Error",
   "path": ".status.error",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/KV": [
  {
   "name": "Type",
   "path": ".spec.type",
   "type": "string",
   "wide": false
  },
  {
   "name": "Value",
   "path": ".spec.value",
   "type": "string",
   "wide": false
  },
  {
   "name": "TTL",
   "path": ".spec.ttl",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Key",
   "path": ".spec.key",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Sync": [
  {
   "name": "Phase",
   "path": ".status.phase",
   "type": "string",
   "wide": false
  },
  {
   "name": "Applied",
   "path": ".status.appliedRevision",
   "type": "string",
   "wide": false
  },
  {
   "name": "Failed",
   "path": ".status.last.failed",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Suspended",
   "path": ".spec.suspend",
   "type": "boolean",
   "wide": false
  },
  {
   "name": "Synced",
   "path": ".status.appliedAt",
   "type": "date",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Prune",
   "path": ".spec.prune",
   "type": "boolean",
   "wide": true
  },
  {
   "name": "Drift",
   "path": ".spec.driftPolicy",
   "type": "string",
   "wide": true
  },
  {
   "name": "Message",
   "path": ".status.message",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Revision": [
  {
   "name": "Kind",
   "path": ".spec.target.kind",
   "type": "string",
   "wide": false
  },
  {
   "name": "Object",
   "path": ".spec.target.name",
   "type": "string",
   "wide": false
  },
  {
   "name": "Number",
   "path": ".spec.number",
   "type": "integer",
   "wide": false
  },
  {
   "name": "Hash",
   "path": ".spec.hash",
   "type": "string",
   "wide": false
  },
  {
   "name": "Available",
   "path": ".status.availableAt",
   "type": "date",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Cause",
   "path": ".spec.changeCause",
   "type": "string",
   "wide": true
  }
 ],
 "plum.dev/Token": [
  {
   "name": "User",
   "path": ".spec.user",
   "type": "string",
   "wide": false
  },
  {
   "name": "Expires",
   "path": ".spec.expiresAt",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Groups",
   "path": ".spec.groups",
   "type": "string",
   "wide": true
  },
  {
   "name": "Description",
   "path": ".spec.description",
   "type": "string",
   "wide": true
  }
 ],
 "coordination.k8s.io/Lease": [
  {
   "name": "Holder",
   "path": ".spec.holderIdentity",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  },
  {
   "name": "Renewed",
   "path": ".spec.renewTime",
   "type": "date",
   "wide": true
  }
 ],
 "apiextensions.k8s.io/CustomResourceDefinition": [
  {
   "name": "Created At",
   "path": ".metadata.creationTimestamp",
   "type": "string",
   "wide": false
  }
 ],
 "rbac.authorization.k8s.io/Role": [
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  }
 ],
 "rbac.authorization.k8s.io/ClusterRole": [
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  }
 ],
 "rbac.authorization.k8s.io/RoleBinding": [
  {
   "name": "Role",
   "path": ".roleRef.name",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  }
 ],
 "rbac.authorization.k8s.io/ClusterRoleBinding": [
  {
   "name": "Role",
   "path": ".roleRef.name",
   "type": "string",
   "wide": false
  },
  {
   "name": "Age",
   "path": ".metadata.creationTimestamp",
   "type": "date",
   "wide": false
  }
 ]
}
