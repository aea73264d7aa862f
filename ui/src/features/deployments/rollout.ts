/**
 * How far a Deployment is: wanted against actual, and what its rollout does, in one word and a few numbers. Pure.
 *
 * The word follows from the conditions that the controller writes; nothing is concluded here that it has not concluded.
 */

import { conditionOf } from '@/api/objects'
import type { Deployment, DeploymentSpec } from './types'

export type RolloutWord =
  | 'complete'
  | 'rollingOut'
  | 'canary'
  | 'paused'
  | 'failed'
  | 'rolledBack'
  | 'degraded'
  | 'stopped'
  | 'stopping'
  | 'unseen'
  | 'deleting'

export interface Progress {
  word: RolloutWord
  wanted: number
  ready: number
  available: number
  /** Instances of the current template. */
  updated: number
  /** Instances of other templates. */
  old: number
  /** Of the rollout, 0 to 100: each wanted instance counts once updated and once available, each old one until it has gone. */
  percent: number
  /** What the controller says. */
  message: string
  startedAt?: string
  /** When the rollout counts as failed if nothing moves. */
  deadlineAt?: string
  canary?: { step: number; steps: number }
}

/** Instances that the spec asks for, not regarding its state. */
export function wantedOf(spec: DeploymentSpec): number {
  if (spec.nodeReplicas) return Object.values(spec.nodeReplicas).reduce((sum, count) => sum + count, 0)
  return spec.replicas ?? 1
}

export function progressOf(deployment: Deployment): Progress {
  const { spec, status = {}, metadata } = deployment
  const wanted = wantedOf(spec)
  const progressing = conditionOf(deployment, 'Progressing')
  const rollout = status.rollout ?? {}
  const updated = status.updatedReplicas ?? 0
  const available = status.availableReplicas ?? 0
  const old = Math.max(0, (status.replicas ?? 0) - updated)
  const steps = spec.strategy?.canary?.steps?.length ?? 0
  const word = wordOf(deployment, wanted, available, progressing?.reason ?? '')
  const running = word === 'rollingOut' || word === 'canary'
  const deadline = spec.strategy?.progressDeadlineSeconds ?? 600
  const progress: Progress = {
    word,
    wanted,
    ready: status.readyReplicas ?? 0,
    available,
    updated,
    old,
    percent: word === 'complete' || word === 'degraded' ? 100 : percentDone(wanted, updated, available, old),
    message: messageOf(deployment, word),
  }
  if (rollout.startedAt) progress.startedAt = rollout.startedAt
  if (word === 'rollingOut' && rollout.progressedAt) {
    progress.deadlineAt = new Date(Date.parse(rollout.progressedAt) + deadline * 1000).toISOString()
  }
  if (running && spec.strategy?.type === 'Canary' && steps > 0 && metadata.generation !== undefined) {
    progress.canary = { step: Math.min((rollout.canaryStep ?? 0) + 1, steps), steps }
  }
  return progress
}

function wordOf(deployment: Deployment, wanted: number, available: number, reason: string): RolloutWord {
  const { metadata, spec, status } = deployment
  if (metadata.deletionTimestamp) return 'deleting'
  if (!status?.observedGeneration || status.observedGeneration < (metadata.generation ?? 0)) return 'unseen'
  if (spec.state === 'Stopped') return (status.readyReplicas ?? 0) > 0 ? 'stopping' : 'stopped'
  switch (reason) {
    case 'RolledBack':
      return 'rolledBack'
    case 'ProgressDeadlineExceeded':
      return 'failed'
    case 'Paused':
      return 'paused'
    case 'CanaryPaused':
      return 'canary'
    case 'RolloutComplete':
      return available >= wanted ? 'complete' : 'degraded'
    default:
      return 'rollingOut'
  }
}

function messageOf(deployment: Deployment, word: RolloutWord): string {
  const type = word === 'degraded' || word === 'stopped' ? 'Available' : 'Progressing'
  return conditionOf(deployment, type)?.message ?? ''
}

export function percentDone(wanted: number, updated: number, available: number, old: number): number {
  const all = 2 * wanted + old
  if (wanted === 0) return old === 0 ? 100 : 0
  const done = Math.min(updated, wanted) + Math.min(available, updated, wanted)
  return Math.round((100 * done) / all)
}

/** Trouble first, then what moves, then what rests: the order of lists. */
const URGENCY: Readonly<Record<RolloutWord, number>> = {
  failed: 0,
  rolledBack: 1,
  degraded: 2,
  unseen: 3,
  rollingOut: 4,
  canary: 5,
  stopping: 6,
  deleting: 7,
  paused: 8,
  complete: 9,
  stopped: 10,
}

export function urgencyOf(deployment: Deployment): number {
  return URGENCY[progressOf(deployment).word]
}
