/**
 * Which fields name other objects. The drop-down of such a field offers what is there now; other names may be written as well, because
 * a manifest may come before what it names.
 */
import { kinds, type KindRef } from '@/api/kinds'

export interface Reference {
  kind: KindRef
  /** Names that are always there. */
  also?: readonly string[]
  /** What of the objects is offered, when it is not their name: `spec.tasks`, or the keys of `data`. */
  of?: 'spec.name' | 'spec.version' | 'spec.tasks' | 'spec.image' | 'data'
  /** Only the object of this name counts. */
  only?: string
}

/** Tasks of the controller itself. */
export const BUILTINS = [
  'builtin.apply', 'builtin.delay', 'builtin.delete', 'builtin.echo', 'builtin.fail', 'builtin.kv', 'builtin.patch', 'builtin.rollback', 'builtin.rollout', 'builtin.sleep', 'builtin.transact', 'builtin.transform', 'builtin.wait',
] as const

/** By the last two names of a path, then by the last one. */
const BY_TWO: Record<string, KindRef> = {
  'secretRef.name': kinds.Secret, 'secretKeyRef.name': kinds.Secret, 'webhookSecretRef.name': kinds.Secret, 'configMapRef.name': kinds.ConfigMap, 'configMapKeyRef.name': kinds.ConfigMap,
  'imagePullSecrets.name': kinds.Secret, 'secrets.name': kinds.Secret, 'kvKeyRef.key': kinds.KV, 'metadata.namespace': kinds.Namespace, 'invokes.name': kinds.Service,
}
const BY_ONE: Record<string, KindRef> = {
  workflowRef: kinds.Workflow, resourceRef: kinds.Resource, nodeName: kinds.Node, serviceName: kinds.Service, namespace: kinds.Namespace, targetNamespace: kinds.Namespace, instanceName: kinds.Instance,
  secretName: kinds.Secret, secret: kinds.Secret, configMap: kinds.ConfigMap,
}
/** By kind and whole path. */
const BY_PATH: Record<string, KindRef> = {
  'Operation spec.resource': kinds.Resource, 'Token spec.node': kinds.Node, 'Service spec.nodeName': kinds.Node, 'Artifact spec.node': kinds.Node,
  'TaskDefinition spec.service.name': kinds.Service, 'TaskDefinition spec.service.service': kinds.Service,
}

/** What a field refers to; undefined when it names nothing of the API. */
export function referenceOf(kind: KindRef, path: readonly string[], beside: Record<string, unknown> = {}): Reference | undefined {
  const last = path.at(-1) ?? ''
  const two = path.slice(-2).join('.')
  if (last === 'taskRef') return { kind: kinds.TaskDefinition, also: BUILTINS }
  if (two === 'worker.task' || (kind.kind === 'TaskDefinition' && path.join('.') === 'spec.task')) return { kind: kinds.Worker, of: 'spec.tasks', also: kind.kind === 'TaskDefinition' ? BUILTINS : [] }
  if (two === 'artifact.name') return { kind: kinds.Artifact, of: 'spec.name' }
  if (two === 'artifact.version') return { kind: kinds.Artifact, of: 'spec.version', ...named(beside) }
  if (last === 'image' && kind.kind !== 'Artifact') return { kind: kinds.Deployment, of: 'spec.image' }
  if (two === 'secretKeyRef.key' || (two === 'secretRef.key' && typeof beside.name === 'string')) return { kind: kinds.Secret, of: 'data', ...named(beside) }
  if (two === 'configMapKeyRef.key') return { kind: kinds.ConfigMap, of: 'data', ...named(beside) }
  if (two === 'roleRef.name') return { kind: beside.kind === 'ClusterRole' || !kind.namespaced ? kinds.ClusterRole : kinds.Role }
  if (two === 'subjects.name') return beside.kind === 'ServiceAccount' ? { kind: kinds.ServiceAccount } : undefined
  if (kind.kind === 'Namespace' && two === 'metadata.namespace') return undefined
  const found = BY_PATH[`${kind.kind} ${path.join('.')}`] ?? BY_TWO[two] ?? BY_ONE[last]
  return found && { kind: found }
}

function named(beside: Record<string, unknown>): { only?: string } {
  return typeof beside.name === 'string' && beside.name ? { only: beside.name } : {}
}

/** What an object has to offer for a reference. Pure. */
export function offersOf(reference: Reference, object: { metadata: { name: string }; [key: string]: unknown }): string[] {
  const spec = (object.spec ?? {}) as Record<string, unknown>
  const text = (value: unknown): string[] => (typeof value === 'string' && value ? [value] : [])
  switch (reference.of) {
    case 'spec.name':
      return text(spec.name)
    case 'spec.version':
      return !reference.only || spec.name === reference.only ? text(spec.version) : []
    case 'spec.tasks':
      return Array.isArray(spec.tasks) ? spec.tasks.map(String) : []
    case 'spec.image':
      return text((spec.template as Record<string, unknown> | undefined)?.image)
    case 'data':
      return !reference.only || object.metadata.name === reference.only ? Object.keys({ ...(object.data as object), ...(object.stringData as object), ...(object.binaryData as object) }) : []
    default:
      return [object.metadata.name]
  }
}
