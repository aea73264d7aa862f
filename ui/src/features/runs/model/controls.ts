/**
 * What may be asked of a run and of its nodes, in every state: the table of `docs/workflows.md`, which the server generates and
 * judges by. Here it decides what a button says before it is pressed; a test compares the two.
 */
import type { NodePhase, RunPhase } from './rows'

export const CONTROLS = ['pause', 'resume', 'cancel', 'retry', 'rerun', 'skip', 'markSucceeded', 'markFailed', 'cancelNode', 'approve', 'reject'] as const
export type Control = (typeof CONTROLS)[number]

const GOING: readonly RunPhase[] = ['Queued', 'Pending', 'Running', 'Paused']
const BUSY: readonly RunPhase[] = ['Running', 'Paused']

export const RUN_CONTROLS: Readonly<Record<Control, readonly RunPhase[]>> = {
  pause: GOING,
  resume: GOING,
  cancel: GOING,
  retry: ['Running', 'Paused', 'Failed', 'Canceled', 'Timeout'],
  rerun: ['Running', 'Paused', 'Succeeded', 'Failed', 'Canceled', 'Timeout'],
  skip: BUSY,
  markSucceeded: BUSY,
  markFailed: BUSY,
  cancelNode: BUSY,
  approve: BUSY,
  reject: BUSY,
}

export const NODE_CONTROLS: Readonly<Partial<Record<Control, readonly NodePhase[]>>> = {
  skip: ['Pending', 'Running', 'Waiting'],
  markSucceeded: ['Pending', 'Running', 'Waiting', 'Failed', 'Canceled'],
  markFailed: ['Pending', 'Running', 'Waiting'],
  cancelNode: ['Running', 'Waiting'],
  approve: ['Waiting'],
  reject: ['Waiting'],
  retry: ['Failed', 'Canceled'],
  rerun: ['Succeeded', 'Failed', 'Skipped', 'UpstreamFailed', 'Canceled'],
}

export interface Refusal {
  /** About the run or the node. */
  about: 'run' | 'node'
  phase: string
  allowed: readonly string[]
}

/** Why a control may not be asked of a run; null if it may. Asking twice for the same makes no sense here either. */
export function runRefusal(control: Control, phase: string, state = 'Running'): Refusal | null {
  const allowed = RUN_CONTROLS[control]
  if (!(allowed as readonly string[]).includes(phase)) return { about: 'run', phase, allowed }
  if (control === 'pause' && state === 'Paused') return { about: 'run', phase: 'Paused', allowed: ['Running'] }
  if (control === 'resume' && state !== 'Paused') return { about: 'run', phase, allowed: ['Paused'] }
  return null
}

/** Why a control may not be asked of a node of a run; null if it may. A run that has ended is run again from a node by a new run. */
export function nodeRefusal(control: Control, runPhase: string, nodePhase: string): Refusal | null {
  const run = runRefusal(control, runPhase)
  if (run) return run
  const allowed = NODE_CONTROLS[control]
  if (!allowed || (allowed as readonly string[]).includes(nodePhase)) return null
  return { about: 'node', phase: nodePhase, allowed }
}
