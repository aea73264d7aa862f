/**
 * What is desired beside what is actual, for any object. Pure.
 *
 * Kinds have their own pairs of fields; besides, whatever spec and status both name is compared, so that user-defined kinds are as well.
 */

import { at, conditionsOf, type AnyObj, type Condition } from '@/api/objects'
import { conditionTone, stateOf } from '@/states'

export interface Comparison {
  field: string
  desired: unknown
  actual: unknown
  differs: boolean
  /** The condition that explains the difference. */
  because?: Condition
}

interface Pair {
  field: string
  desired: (object: AnyObj) => unknown
  actual: (object: AnyObj) => unknown
  equal?: (desired: unknown, actual: unknown, object: AnyObj) => boolean
  /** Type of the condition that says why they differ. */
  because?: string
}

const path = (...names: string[]) => (object: AnyObj): unknown => at(object, ...names)
const zero = (...names: string[]) => (object: AnyObj): unknown => at(object, ...names) ?? 0

/** Of one that is stopped, instances may be there or not: none of them may run. */
function wantedReplicas(object: AnyObj): number {
  const replicas = at(object, 'spec', 'state') === 'Stopped' ? undefined : at(object, 'spec', 'replicas')
  return typeof replicas === 'number' ? replicas : Number(at(object, 'status', 'replicas') ?? 0)
}

const PAIRS: Record<string, Pair[]> = {
  Deployment: [
    { field: 'replicas', desired: wantedReplicas, actual: zero('status', 'replicas'), because: 'Progressing' },
    { field: 'updatedReplicas', desired: wantedReplicas, actual: zero('status', 'updatedReplicas'), because: 'Progressing' },
    { field: 'availableReplicas', desired: (object) => (at(object, 'spec', 'state') === 'Stopped' ? 0 : wantedReplicas(object)), actual: zero('status', 'availableReplicas'), because: 'Available' },
  ],
  Instance: [
    { field: 'state', desired: path('spec', 'state'), actual: path('status', 'phase'), equal: (desired, actual) => desired === actual || (desired === 'Running' && actual === 'Succeeded'), because: 'Started' },
    { field: 'ready', desired: (object) => at(object, 'spec', 'state') !== 'Stopped', actual: (object) => at(object, 'status', 'ready') === true, because: 'Ready' },
    { field: 'restartRequest', desired: (object) => at(object, 'spec', 'restartRequest') ?? '', actual: (object) => at(object, 'status', 'observedRestartRequest') ?? '' },
  ],
  Node: [
    { field: 'ready', desired: () => true, actual: (object) => conditionsOf(object).some((each) => each.type === 'Ready' && each.status === 'True'), because: 'Ready' },
  ],
  Sync: [
    { field: 'revision', desired: path('status', 'sourceRevision'), actual: path('status', 'appliedRevision') },
    { field: 'drift', desired: () => 0, actual: (object) => ((at(object, 'status', 'drift') as { corrected?: boolean }[] | undefined) ?? []).filter((entry) => !entry.corrected).length },
  ],
}

function equal(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (typeof left !== 'object' || typeof right !== 'object' || left === null || right === null) return false
  if (Array.isArray(left) !== Array.isArray(right)) return false
  const names = new Set([...Object.keys(left), ...Object.keys(right)])
  return [...names].every((name) => equal((left as Record<string, unknown>)[name], (right as Record<string, unknown>)[name]))
}

export function compare(object: AnyObj): Comparison[] {
  const conditions = conditionsOf(object)
  const rows: Comparison[] = []
  const said = new Set<string>()
  for (const pair of PAIRS[object.kind] ?? []) {
    const desired = pair.desired(object)
    const actual = pair.actual(object)
    if (desired === undefined && actual === undefined) continue
    said.add(pair.field)
    const differs = !(pair.equal ?? equal)(desired, actual, object)
    rows.push({ field: pair.field, desired, actual, differs, because: differs ? conditions.find((each) => each.type === pair.because) : undefined })
  }
  const spec = (object.spec ?? {}) as Record<string, unknown>
  const status = (object.status ?? {}) as Record<string, unknown>
  // A twin: each desired property beside what the device reports.
  const desiredValues = spec.desired as Record<string, unknown> | undefined
  const reported = status.reported as Record<string, unknown> | undefined
  if (desiredValues && typeof desiredValues === 'object') {
    for (const [name, value] of Object.entries(desiredValues)) {
      const report = reported?.[name]
      const actual = report !== null && typeof report === 'object' && 'value' in report ? (report as { value: unknown }).value : report
      rows.push({ field: `desired.${name}`, desired: value, actual, differs: !equal(value, actual) })
    }
    said.add('desired').add('reported')
  }
  for (const name of Object.keys(spec)) {
    if (said.has(name) || !(name in status) || name === 'conditions') continue
    rows.push({ field: name, desired: spec[name], actual: status[name], differs: !equal(spec[name], status[name]) })
  }
  const { generation } = object.metadata
  const observed = at(object, 'status', 'observedGeneration')
  if (generation !== undefined && observed !== undefined) rows.push({ field: 'generation', desired: generation, actual: observed, differs: generation !== observed })
  return rows
}

/** Whether anything of the object is not as it should be: a field differs, or its state says so. */
export function differs(object: AnyObj): boolean {
  const tone = stateOf(object).look.tone
  return tone === 'bad' || tone === 'attention' || tone === 'unknown' || compare(object).some((row) => row.differs)
}

/** Conditions with bad news first. */
export function byUrgency(conditions: readonly Condition[]): Condition[] {
  const rank = { bad: 0, unknown: 1, attention: 2, waiting: 3, progress: 4, ok: 5, off: 6 }
  return [...conditions].sort((left, right) => rank[conditionTone(left)] - rank[conditionTone(right)])
}
