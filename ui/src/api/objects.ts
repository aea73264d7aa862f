/** What every object of the API has, whatever its kind. Typed kinds are in `generated/`. */

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
}

export interface ManagedFields {
  manager: string
  operation: 'Apply' | 'Update'
  apiVersion?: string
  time?: string
  subresource?: string
  fieldsV1?: Record<string, unknown>
}

export interface Metadata {
  name: string
  namespace?: string
  uid: string
  resourceVersion: string
  generation?: number
  creationTimestamp: string
  deletionTimestamp?: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  ownerReferences?: OwnerReference[]
  managedFields?: ManagedFields[]
}

export interface Condition {
  type: string
  status: 'True' | 'False' | 'Unknown'
  reason?: string
  message?: string
  lastTransitionTime?: string
  observedGeneration?: number
}

/** One object. `spec` is what is desired, `status` what was last seen. */
export interface Obj<Spec = unknown, Status = unknown> {
  apiVersion: string
  kind: string
  metadata: Metadata
  spec: Spec
  status?: Status
}

/** An object of which nothing is known but that it is one. Parts are looked up by path with `at`. */
export type AnyObj = Obj<Record<string, unknown> | undefined, ({ conditions?: Condition[]; phase?: string } & Record<string, unknown>) | undefined>

export interface ListMeta {
  resourceVersion?: string
  continue?: string
  remainingItemCount?: number
}

export interface ObjList<T = AnyObj> {
  kind: string
  apiVersion: string
  metadata: ListMeta
  items: T[]
}

/** `namespace/name`, or the name alone for cluster-wide kinds. */
export function keyOf(object: { metadata: { name: string; namespace?: string } }): string {
  const { namespace, name } = object.metadata
  return namespace ? `${namespace}/${name}` : name
}

/** The value at a path of names, or undefined. */
export function at(value: unknown, ...path: (string | number)[]): unknown {
  let current = value
  for (const name of path) {
    if (current === null || typeof current !== 'object') return undefined
    current = (current as Record<string | number, unknown>)[name]
  }
  return current
}

export function text(value: unknown, ...path: (string | number)[]): string {
  const found = at(value, ...path)
  return found === undefined || found === null ? '' : typeof found === 'object' ? JSON.stringify(found) : String(found)
}

export function number(value: unknown, ...path: (string | number)[]): number {
  const found = at(value, ...path)
  return typeof found === 'number' ? found : 0
}

export function conditionsOf(object: unknown): Condition[] {
  const found = at(object, 'status', 'conditions')
  return Array.isArray(found) ? (found as Condition[]) : []
}

export function conditionOf(object: unknown, type: string): Condition | undefined {
  return conditionsOf(object).find((condition) => condition.type === type)
}
