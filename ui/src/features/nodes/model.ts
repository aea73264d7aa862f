/**
 * What the pages say of one machine: in which state it is, what is asked of it against what it has, how far a drain is. Pure.
 */

import { conditionOf, conditionsOf } from '@/api/objects'
import type { Blocked } from '../instances/model'
import { parseQuantity, percentOf } from '../instances/quantities'
import type { Instance } from '../instances/types'
import type { Node, NodeSpec, Taint } from './types'

/** One word for a machine, the most urgent that holds. */
export type NodeWord = 'notReady' | 'unreachable' | 'joining' | 'pressure' | 'draining' | 'drained' | 'cordoned' | 'ready'

const NEGATIVE: ReadonlySet<string> = new Set(['DiskPressure', 'MemoryPressure', 'PIDPressure', 'CertificateExpiring'])

export function nodeWord(node: Node): NodeWord {
  const ready = conditionOf(node, 'Ready')
  if (!ready) return 'joining'
  if (ready.status === 'Unknown') return 'unreachable'
  if (ready.status === 'False') return 'notReady'
  if (pressures(node).some((type) => type.endsWith('Pressure'))) return 'pressure'
  if (node.spec.drain) return drainOf(node, []).done ? 'drained' : 'draining'
  return node.spec.unschedulable ? 'cordoned' : 'ready'
}

/** Conditions that are bad news when they are true, and are. */
export function pressures(node: Node): string[] {
  return conditionsOf(node).flatMap((one) => (NEGATIVE.has(one.type) && one.status === 'True' ? [one.type] : []))
}

export interface Usage {
  resource: string
  capacity: number
  /** What instances may use of it. */
  allocatable: number
  /** What the instances here have asked for. */
  requested: number
  requestedPercent: number | undefined
  /** Measured just now; undefined where nothing was measured. */
  used?: number
  usedPercent?: number
}

/** Succeeded and failed ones hold nothing any more. */
export function holdsResources(instance: Instance): boolean {
  const phase = instance.status?.phase
  return phase !== 'Succeeded' && phase !== 'Failed'
}

const FIRST = ['cpu', 'memory', 'instances']

export function usageOf(node: Node, instances: readonly Instance[], measured: Readonly<Record<string, number>> = {}): Usage[] {
  const { capacity = {}, allocatable = {} } = node.status ?? {}
  const here = instances.filter(holdsResources)
  const names = [...new Set([...FIRST, ...Object.keys(capacity).sort()])].filter((name) => name in capacity)
  return names.map((resource) => {
    const whole = parseQuantity(capacity[resource]) ?? 0
    const free = parseQuantity(allocatable[resource]) ?? whole
    const requested =
      resource === 'instances'
        ? here.length
        : here.reduce((sum, one) => sum + (parseQuantity(one.spec.template.resources?.requests?.[resource]) ?? 0), 0)
    const used = measured[resource]
    const usedPercent = percentOf(used, whole)
    return {
      resource,
      capacity: whole,
      allocatable: free,
      requested,
      requestedPercent: percentOf(requested, free),
      ...(used !== undefined ? { used } : {}),
      ...(usedPercent !== undefined ? { usedPercent } : {}),
    }
  })
}

export interface DrainProgress {
  asked: boolean
  done: boolean
  /** Instances that still have to go, or are known to stay. */
  left: number
  requestedAt?: string
  /** When the rest is removed without regard to availability; undefined: never. */
  deadlineAt?: string
  message: string
}

export function drainOf(node: Node, instances: readonly Instance[]): DrainProgress {
  const { drain } = node.spec
  const left = instances.filter(holdsResources).length
  if (!drain) return { asked: false, done: false, left, message: '' }
  const drained = conditionOf(node, 'Drained')
  const fresh = drained !== undefined && (drained.observedGeneration ?? 0) >= (node.metadata.generation ?? 0)
  const seconds = drain.deadlineSeconds ?? 600
  const deadline =
    drain.requestedAt && seconds > 0 ? { deadlineAt: new Date(Date.parse(drain.requestedAt) + seconds * 1000).toISOString() } : {}
  return {
    asked: true,
    done: fresh && drained.status === 'True',
    left,
    ...(drain.requestedAt ? { requestedAt: drain.requestedAt } : {}),
    ...deadline,
    message: fresh ? (drained.message ?? '') : '',
  }
}

/** Share of a drain that is done, against what was there when the page first saw it. */
export function drainPercent(most: number, left: number, done: boolean): number {
  if (done) return 100
  return most <= 0 ? 0 : Math.round((100 * Math.max(0, most - left)) / most)
}

export interface NodeActions {
  cordon: Blocked
  uncordon: Blocked
  drain: Blocked
  remove: Blocked
}

export function nodeActions(node: Node, instances: number): NodeActions {
  const going: Blocked = node.metadata.deletionTimestamp ? 'nodes.blocked.deleting' : undefined
  const { unschedulable = false, drain } = node.spec
  const alive = conditionOf(node, 'Ready')?.status === 'True'
  return {
    cordon: going ?? (unschedulable ? 'nodes.blocked.cordoned' : undefined),
    uncordon: going ?? (unschedulable || drain ? undefined : 'nodes.blocked.notCordoned'),
    drain: going ?? (drain ? 'nodes.blocked.draining' : undefined),
    remove: going ?? (alive ? 'nodes.blocked.agentRuns' : instances > 0 ? 'nodes.blocked.inUse' : undefined),
  }
}

export const CORDON = { spec: { unschedulable: true } }
export const UNCORDON = { spec: { unschedulable: false, drain: null } }

export function drainPatch(deadlineSeconds: number, deletePinned: boolean, now: Date): { spec: NodeSpec } {
  const requestedAt = now.toISOString().replace(/\.\d+Z$/, 'Z')
  return { spec: { unschedulable: true, drain: { deadlineSeconds, requestedAt, ignorePinned: !deletePinned } } }
}

export interface LabelRow {
  key: string
  value: string
  /** Set by the agent or by Plum: shown, and not for people to write. */
  fixed: boolean
}

export function labelRows(labels: Readonly<Record<string, string>> = {}): LabelRow[] {
  return Object.entries(labels)
    .map(([key, value]) => ({ key, value, fixed: isOwn(key) }))
    .sort((left, right) => Number(left.fixed) - Number(right.fixed) || left.key.localeCompare(right.key))
}

/** The labels that are to be written, as a merge patch: what left is null, what stayed is not in it. Undefined: nothing changed. */
export function labelsPatch(
  before: Readonly<Record<string, string>> = {},
  rows: readonly LabelRow[],
): Record<string, string | null> | undefined {
  const after = new Map(rows.filter((row) => row.key.trim() !== '').map((row) => [row.key.trim(), row.value.trim()]))
  const changed: [string, string | null][] = []
  for (const key of Object.keys(before)) if (!after.has(key)) changed.push([key, null])
  for (const [key, value] of after) if (before[key] !== value) changed.push([key, value])
  return changed.length > 0 ? Object.fromEntries(changed) : undefined
}

/** Taints that people set; those of Plum follow conditions and come back by themselves. */
export function isOwn(key: string): boolean {
  return key.startsWith('plum.dev/')
}

/** The whole list to write: Plum's own as they are, the others as they were edited, each key and effect once. */
export function taintsOf(node: Node, rows: readonly Taint[]): Taint[] {
  const own = (node.spec.taints ?? []).filter((taint) => isOwn(taint.key))
  const known = new Map((node.spec.taints ?? []).map((taint) => [`${taint.key} ${taint.effect} ${taint.value ?? ''}`, taint]))
  const edited = new Map<string, Taint>()
  for (const row of rows) {
    const key = row.key.trim()
    if (key === '' || isOwn(key)) continue
    const value = (row.value ?? '').trim()
    // An unchanged one keeps the time since which tolerationSeconds count.
    const before = known.get(`${key} ${row.effect} ${value}`)
    edited.set(`${key} ${row.effect}`, before ?? { key, effect: row.effect, ...(value ? { value } : {}) })
  }
  return [...own, ...edited.values()]
}

const LABEL_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/
const LABEL_PREFIX = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/

/** Whether a label may be called so. The server has the last word; this one is there while typing. */
export function isLabelKey(key: string): boolean {
  const at = key.indexOf('/')
  return at < 0 ? LABEL_NAME.test(key) : LABEL_PREFIX.test(key.slice(0, at)) && LABEL_NAME.test(key.slice(at + 1))
}

export function isLabelValue(value: string): boolean {
  return value === '' || LABEL_NAME.test(value)
}
