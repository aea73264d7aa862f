/** Versions of an object that matter to people, and what an old one has to be written as to come back. Pure. */

import type { AnyObj } from '@/api/objects'
import { toYaml } from '@/components/yaml/document'

export interface Version {
  revision: string
  time: string
  operation: 'create' | 'update' | 'delete' | (string & {})
  manager: string
  object: AnyObj
}

const OWN = 'plum.dev/'

/** The desired state alone: what somebody wrote, without bookkeeping and status. */
export function desiredOf(object: AnyObj): Record<string, unknown> {
  const { apiVersion, kind, metadata, status: _status, ...rest } = object as unknown as Record<string, unknown> & { metadata: AnyObj['metadata'] }
  return {
    apiVersion, kind,
    metadata: {
      name: metadata.name, ...(metadata.namespace ? { namespace: metadata.namespace } : {}), ...(metadata.labels ? { labels: metadata.labels } : {}),
      ...(metadata.annotations ? { annotations: metadata.annotations } : {}),
    },
    ...rest,
  }
}

/** Versions newest first; of versions in a row with the same desired state only the first one, unless `all`. */
export function interesting(versions: readonly Version[], all = false): Version[] {
  const ascending = [...versions].sort((left, right) => Number(left.revision) - Number(right.revision))
  const kept: Version[] = []
  let before = ''
  for (const version of ascending) {
    const now = version.operation === 'delete' ? 'deleted' : toYaml(desiredOf(version.object))
    if (all || now !== before) kept.push(version)
    before = now
  }
  return kept.reverse()
}

/** Names of top-level fields below spec that two versions differ in: a line that says what changed. */
export function changedFields(before: AnyObj | undefined, after: AnyObj): string[] {
  if (!before) return []
  const names: string[] = []
  const left = desiredOf(before)
  const right = desiredOf(after)
  const walk = (one: unknown, two: unknown, path: string, depth: number): void => {
    if (JSON.stringify(one) === JSON.stringify(two)) return
    const maps = [one, two].every((each) => typeof each === 'object' && each !== null && !Array.isArray(each))
    if (!maps || depth >= 3) {
      names.push(path)
      return
    }
    for (const name of new Set([...Object.keys(one as object), ...Object.keys(two as object)])) {
      walk((one as Record<string, unknown>)[name], (two as Record<string, unknown>)[name], path ? `${path}.${name}` : name, depth + 1)
    }
  }
  walk(left, right, '', 0)
  return names
}

/** The live object with the desired state of an old version. Plum's own labels and annotations stay those of now, as do finalizers and owners. */
export function rolledBack(live: AnyObj, old: AnyObj): AnyObj {
  const mixed = (now: Record<string, string> | undefined, then: Record<string, string> | undefined): Record<string, string> | undefined => {
    const own = (entries: Record<string, string> | undefined, wanted: boolean): [string, string][] => Object.entries(entries ?? {}).filter(([name]) => name.startsWith(OWN) === wanted)
    const result = Object.fromEntries([...own(then, false), ...own(now, true)])
    return Object.keys(result).length ? result : undefined
  }
  const { metadata: _metadata, status: _status, ...rest } = old as unknown as Record<string, unknown>
  const { managedFields: _managed, ...metadata } = live.metadata
  return {
    ...rest,
    metadata: { ...metadata, labels: mixed(live.metadata.labels, old.metadata.labels), annotations: mixed(live.metadata.annotations, old.metadata.annotations) },
  } as unknown as AnyObj
}
