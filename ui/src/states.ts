/**
 * Every state of every kind: its tone (colour), its icon and the key of its label. One table, and the compiler checks that
 * no phase is missing: the phases come from the API's description.
 *
 * Colour is never the only sign: each tone has an icon of another shape, and the label says it in words.
 */

import { at, conditionOf, conditionsOf, type AnyObj, type Condition } from './api/objects'
import type { Instance, Operation, PhaseOf, Sync, TaskRun, Worker, WorkflowRun } from './api/types'

/** What a state means to whoever looks: fine, on its way, look at it, broken, waiting, switched off, not known. */
export type Tone = 'ok' | 'progress' | 'attention' | 'bad' | 'waiting' | 'off' | 'unknown'

export interface StateLook {
  tone: Tone
  /** Name of a shape in `StateIcon.vue`. */
  icon: IconShape
  /** i18n key of the word. */
  label: string
}

export type IconShape = 'check' | 'spinner' | 'alert' | 'cross' | 'clock' | 'dash' | 'question' | 'pause' | 'stop' | 'skip' | 'hand'

const SHAPES: Record<Tone, IconShape> = {
  ok: 'check', progress: 'spinner', attention: 'alert', bad: 'cross', waiting: 'clock', off: 'dash', unknown: 'question',
}

type Entry = Tone | [Tone, IconShape]

/** Kinds that have no phase: what `stateOf` makes of their conditions. */
export type DerivedState =
  | 'Ready' | 'NotReady' | 'Available' | 'Progressing' | 'Degraded' | 'Paused' | 'Stopped' | 'Stopping' | 'Cordoned' | 'Draining' | 'Drained' | 'Deleting'
  | 'Active' | 'Draft' | 'Present' | 'Missing' | 'Online' | 'Offline' | 'Failed' | 'Unknown' | 'Pending' | 'Suspended' | 'Differs' | 'RolledBack' | 'Silent'

/** States of the nodes of a workflow's run. */
export type RunNodeState =
  | 'Pending' | 'Queued' | 'Waiting' | 'Running' | 'Retrying' | 'Succeeded' | 'Failed' | 'Skipped' | 'Canceled' | 'Timeout' | 'UpstreamFailed' | 'Paused' | 'Unknown'

interface Tables {
  Instance: Record<PhaseOf<Instance>, Entry>
  TaskRun: Record<PhaseOf<TaskRun>, Entry>
  WorkflowRun: Record<PhaseOf<WorkflowRun>, Entry>
  Operation: Record<PhaseOf<Operation>, Entry>
  Sync: Record<PhaseOf<Sync>, Entry>
  Worker: Record<PhaseOf<Worker>, Entry>
  RunNode: Record<RunNodeState, Entry>
  Derived: Record<DerivedState, Entry>
}

const TABLES: Tables = {
  Instance: {
    Pending: 'waiting', Scheduled: 'progress', Preparing: 'progress', Starting: 'progress', Running: 'ok', Stopping: ['progress', 'stop'],
    Stopped: ['off', 'stop'], Succeeded: 'ok', Failed: 'bad', Unknown: 'unknown',
  },
  TaskRun: {
    Queued: 'waiting', Pending: 'waiting', Running: 'progress', Succeeded: 'ok', Failed: 'bad', Timeout: ['bad', 'clock'], Canceled: ['off', 'stop'],
    Unknown: 'unknown',
  },
  WorkflowRun: {
    Queued: 'waiting', Pending: 'waiting', Running: 'progress', Paused: ['attention', 'pause'], Succeeded: 'ok', Failed: 'bad',
    Timeout: ['bad', 'clock'], Canceled: ['off', 'stop'],
  },
  Operation: {
    Queued: 'waiting', Delivered: 'progress', Accepted: 'progress', Running: 'progress', Succeeded: 'ok', Failed: 'bad', Expired: ['bad', 'clock'],
    Canceled: ['off', 'stop'], Unknown: 'unknown',
  },
  Sync: { Pending: 'waiting', Synced: 'ok', Syncing: 'progress', Blocked: ['attention', 'hand'], Failed: 'bad', Suspended: ['off', 'pause'] },
  Worker: { Ready: 'ok', Draining: ['attention', 'stop'], Lost: 'bad' },
  RunNode: {
    Pending: 'waiting', Queued: 'waiting', Waiting: ['attention', 'hand'], Running: 'progress', Retrying: ['attention', 'spinner'], Succeeded: 'ok',
    Failed: 'bad', Skipped: ['off', 'skip'], Canceled: ['off', 'stop'], Timeout: ['bad', 'clock'], UpstreamFailed: ['off', 'cross'],
    Paused: ['attention', 'pause'], Unknown: 'unknown',
  },
  Derived: {
    Ready: 'ok', NotReady: 'bad', Available: 'ok', Progressing: 'progress', Degraded: 'bad', Paused: ['attention', 'pause'], Stopped: ['off', 'stop'],
    Stopping: ['progress', 'stop'], Cordoned: ['attention', 'hand'], Draining: ['attention', 'spinner'], Drained: ['off', 'hand'], Deleting: ['progress', 'cross'],
    Active: 'ok', Draft: ['off', 'dash'], Present: ['off', 'dash'], Missing: 'bad', Online: 'ok', Offline: 'bad', Failed: 'bad', Unknown: 'unknown',
    Pending: 'waiting', Suspended: ['off', 'pause'], Differs: 'attention', RolledBack: ['attention', 'alert'], Silent: 'unknown',
  },
}

export type StateTable = keyof Tables

/** How a state of a table looks. A state that a newer controller made up looks unknown and keeps its own word. */
export function lookOf(table: StateTable, state: string): StateLook {
  const entry = (TABLES[table] as Record<string, Entry>)[state]
  if (!entry) return { tone: 'unknown', icon: 'question', label: '' }
  const [tone, icon] = typeof entry === 'string' ? [entry, SHAPES[entry]] : entry
  return { tone, icon, label: `common.state.${state}` }
}

/** All states of all tables: tests ask whether each has its word in each language. */
export function allStates(): string[] {
  return [...new Set(Object.values(TABLES).flatMap((table) => Object.keys(table as object)))]
}

/** Conditions that are good news when they are False. */
export const NEGATIVE_CONDITIONS: ReadonlySet<string> = new Set([
  'Paused', 'ReplicaFailure', 'Stalled', 'Degraded', 'CertificateExpiring', 'DiskPressure', 'MemoryPressure', 'PIDPressure', 'Failed', 'NameConflict',
])

export function conditionTone(condition: Condition): Tone {
  if (condition.status === 'Unknown') return 'unknown'
  const good = (condition.status === 'True') !== NEGATIVE_CONDITIONS.has(condition.type)
  if (good) return 'ok'
  return condition.type === 'Paused' ? 'attention' : NEGATIVE_CONDITIONS.has(condition.type) || condition.type === 'Ready' || condition.type === 'Available' ? 'bad' : 'waiting'
}

/** The state of an object: which table and word, and the condition that explains it. */
export interface ObjectState {
  table: StateTable
  state: string
  look: StateLook
  /** CamelCase, as the API says it; empty when there is nothing to add. */
  reason: string
  message: string
}

function derived(state: DerivedState, because?: { reason?: string; message?: string }): ObjectState {
  return { table: 'Derived', state, look: lookOf('Derived', state), reason: because?.reason ?? '', message: because?.message ?? '' }
}

function phased(table: StateTable, state: string, because?: { reason?: string; message?: string }): ObjectState {
  return { table, state, look: lookOf(table, state), reason: because?.reason ?? '', message: because?.message ?? '' }
}

const PHASED: Partial<Record<string, StateTable>> = {
  Instance: 'Instance', TaskRun: 'TaskRun', WorkflowRun: 'WorkflowRun', Operation: 'Operation', Sync: 'Sync', Worker: 'Worker',
}

/** The one state that a row of a list shows for an object of any kind. Pure. */
export function stateOf(object: AnyObj): ObjectState {
  const kind = object.kind
  const status = object.status as Record<string, unknown> | undefined
  const table = PHASED[kind]
  if (table) {
    const phase = typeof status?.phase === 'string' ? status.phase : 'Pending'
    const because = worst(object) ?? { reason: str(status?.reason), message: str(status?.message) }
    if (kind === 'Instance') {
      const ready = conditionOf(object, 'Ready')
      if (phase === 'Running' && status?.ready === false && ready?.status !== 'True') {
        return { ...phased(table, phase, ready), look: { ...lookOf('Derived', 'NotReady'), label: 'common.state.RunningNotReady' } }
      }
      return phased(table, phase, status?.reason ? { reason: str(status.reason), message: str(status.message) } : because)
    }
    return phased(table, phase, because)
  }
  if (object.metadata.deletionTimestamp) return derived('Deleting')
  if (kind === 'Deployment') return deploymentState(object)
  if (kind === 'Node') return nodeState(object)
  if (kind === 'Workflow' || kind === 'Trigger') return derived(at(object, 'spec', 'state') === 'Paused' || at(object, 'spec', 'suspend') === true ? 'Paused' : at(object, 'spec', 'state') === 'Draft' ? 'Draft' : failing(object) ? 'Degraded' : 'Active', failing(object))
  return otherState(object)
}

function str(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function deploymentState(object: AnyObj): ObjectState {
  const wantsStop = at(object, 'spec', 'state') === 'Stopped'
  const replicas = Number(at(object, 'status', 'replicas') ?? 0)
  const wanted = Number(at(object, 'status', 'desiredReplicas') ?? at(object, 'spec', 'replicas') ?? replicas)
  const available = Number(at(object, 'status', 'availableReplicas') ?? 0)
  const updated = Number(at(object, 'status', 'updatedReplicas') ?? 0)
  const progressing = conditionOf(object, 'Progressing')
  const availableCondition = conditionOf(object, 'Available')
  if (wantsStop) return derived(replicas > 0 && available > 0 ? 'Stopping' : 'Stopped')
  const failure = conditionOf(object, 'ReplicaFailure')
  const seen = at(object, 'status', 'observedGeneration') === object.metadata.generation
  if (progressing?.status === 'False' && progressing.reason !== 'Paused') return derived(available >= wanted ? 'Differs' : 'Failed', progressing)
  if (at(object, 'spec', 'paused') === true) return derived('Paused', conditionOf(object, 'Paused') ?? progressing)
  if (!seen || (progressing?.status === 'True' && progressing.reason !== 'RolloutComplete') || updated < wanted) return derived('Progressing', progressing)
  if (available < wanted) return derived(available === 0 ? 'Failed' : 'Degraded', failure?.status === 'True' ? failure : availableCondition)
  if (Number(at(object, 'status', 'rolledBackGeneration') ?? 0) === object.metadata.generation) return derived('RolledBack', progressing)
  return derived('Available', availableCondition)
}

function nodeState(object: AnyObj): ObjectState {
  const ready = conditionOf(object, 'Ready')
  if (ready?.status !== 'True') return derived(ready ? (ready.status === 'Unknown' ? 'Silent' : 'NotReady') : 'Pending', ready)
  if (at(object, 'spec', 'drain')) return derived(conditionOf(object, 'Drained')?.status === 'True' ? 'Drained' : 'Draining', conditionOf(object, 'Drained'))
  if (at(object, 'spec', 'unschedulable') === true) return derived('Cordoned')
  const pressure = conditionsOf(object).find((condition) => NEGATIVE_CONDITIONS.has(condition.type) && condition.status === 'True')
  return pressure ? derived('Degraded', pressure) : derived('Ready', ready)
}

/** A condition that is bad news, if there is one. */
function failing(object: AnyObj): Condition | undefined {
  return conditionsOf(object).find((condition) => conditionTone(condition) === 'bad')
}

/** The condition to show beside a phase: bad news first, then what is waited for. */
function worst(object: AnyObj): Condition | undefined {
  const conditions = conditionsOf(object)
  return failing(object) ?? conditions.find((condition) => conditionTone(condition) === 'unknown') ?? conditions.find((condition) => conditionTone(condition) === 'waiting')
}

/** Kinds that users define and those with nothing but conditions: Ready or Available decide, else that it is there. */
function otherState(object: AnyObj): ObjectState {
  const phase = object.status?.phase
  if (typeof phase === 'string' && phase) return phased('Derived', phase, worst(object))
  for (const type of ['Ready', 'Available', 'Online', 'Established', 'Reachable', 'Valid']) {
    const condition = conditionOf(object, type)
    if (!condition) continue
    if (condition.status === 'True') return derived(type === 'Online' || type === 'Reachable' ? 'Online' : 'Ready', failing(object))
    return derived(condition.status === 'Unknown' ? 'Unknown' : type === 'Online' || type === 'Reachable' ? 'Offline' : 'NotReady', condition)
  }
  const bad = failing(object)
  return bad ? derived('Degraded', bad) : derived('Present')
}
