/** The kinds that the UI knows by name. All others are found by `discovery.ts`. */

export interface KindRef {
  /** Empty for core/v1. */
  group: string
  version: string
  kind: string
  plural: string
  namespaced: boolean
}

function plum<K extends string>(kind: K, plural: string, namespaced = true): KindRef & { kind: K } {
  return { group: 'plum.dev', version: 'v1', kind, plural, namespaced }
}

function core<K extends string>(kind: K, plural: string, namespaced = true): KindRef & { kind: K } {
  return { group: '', version: 'v1', kind, plural, namespaced }
}

function rbac<K extends string>(kind: K, plural: string, namespaced: boolean): KindRef & { kind: K } {
  return { group: 'rbac.authorization.k8s.io', version: 'v1', kind, plural, namespaced }
}

export const kinds = {
  Deployment: plum('Deployment', 'deployments'),
  Instance: plum('Instance', 'instances'),
  Artifact: plum('Artifact', 'artifacts'),
  Service: plum('Service', 'services'),
  Endpoint: plum('Endpoint', 'endpoints'),
  Node: plum('Node', 'nodes', false),
  Worker: plum('Worker', 'workers'),
  TaskDefinition: plum('TaskDefinition', 'taskdefinitions'),
  TaskRun: plum('TaskRun', 'taskruns'),
  Workflow: plum('Workflow', 'workflows'),
  WorkflowRun: plum('WorkflowRun', 'workflowruns'),
  Trigger: plum('Trigger', 'triggers'),
  Resource: plum('Resource', 'resources'),
  Operation: plum('Operation', 'operations'),
  KV: plum('KV', 'kvs'),
  Sync: plum('Sync', 'syncs'),
  Revision: plum('Revision', 'revisions'),
  Token: plum('Token', 'tokens', false),
  Namespace: core('Namespace', 'namespaces', false),
  Event: core('Event', 'events'),
  Secret: core('Secret', 'secrets'),
  ConfigMap: core('ConfigMap', 'configmaps'),
  ServiceAccount: core('ServiceAccount', 'serviceaccounts'),
  Lease: { group: 'coordination.k8s.io', version: 'v1', kind: 'Lease', plural: 'leases', namespaced: true },
  CustomResourceDefinition: {
    group: 'apiextensions.k8s.io', version: 'v1', kind: 'CustomResourceDefinition', plural: 'customresourcedefinitions', namespaced: false,
  },
  Role: rbac('Role', 'roles', true),
  RoleBinding: rbac('RoleBinding', 'rolebindings', true),
  ClusterRole: rbac('ClusterRole', 'clusterroles', false),
  ClusterRoleBinding: rbac('ClusterRoleBinding', 'clusterrolebindings', false),
} satisfies Record<string, KindRef>

export type KnownKind = keyof typeof kinds

export function apiVersionOf(kind: KindRef): string {
  return kind.group ? `${kind.group}/${kind.version}` : kind.version
}

/** The kind that an object or a reference names, when the UI knows it by name. */
export function knownKind(apiVersion: string, kind: string): KindRef | undefined {
  const found = (kinds as Record<string, KindRef>)[kind]
  return found && apiVersionOf(found) === apiVersion ? found : undefined
}

/** Where a collection, an object or a part of an object is. Without a namespace: all namespaces. */
export function pathOf(kind: KindRef, namespace?: string, name?: string, subresource?: string): string {
  const parts = kind.group ? ['/apis', kind.group, kind.version] : ['/api', kind.version]
  if (kind.namespaced && namespace) parts.push('namespaces', encodeURIComponent(namespace))
  parts.push(kind.plural)
  if (name) parts.push(encodeURIComponent(name))
  if (subresource) parts.push(subresource)
  return parts.join('/')
}
