/**
 * What can be done with a Deployment as it stands, why not, and the patch that does it. Pure; rights are asked separately.
 *
 *   actionsOf(deployment) -> {stop: {blocked?: key of a sentence, patch: {...}}, ...}
 *
 * Every patch is a merge patch of what a person decides; numbers that somebody else may have changed are not in it.
 */

import { conditionOf } from '@/api/objects'
import type { Blocked } from '../instances/model'
import type { Deployment } from './types'

/** Setting it on the template asks for new instances. */
export const RESTARTED = 'plum.dev/restartedAt'
/** Lets a canary go on from the step it waits at. */
export const CANARY_RESUME = 'plum.dev/canary-resume'

export interface Action {
  blocked: Blocked
  patch: Record<string, unknown>
}

export type ActionName = 'start' | 'stop' | 'restart' | 'pause' | 'resume'

export function actionsOf(deployment: Deployment, now: Date): Record<ActionName, Action> {
  const { metadata, spec, status = {} } = deployment
  const deleting: Blocked = metadata.deletionTimestamp ? 'deployments.blocked.deleting' : undefined
  const stopped = spec.state === 'Stopped'
  const atStep = conditionOf(deployment, 'Progressing')?.reason === 'CanaryPaused'
  const step = `${status.rollout?.hash ?? ''}/${status.rollout?.canaryStep ?? 0}`
  const moment = now.toISOString().replace(/\.\d+Z$/, 'Z')
  return {
    start: { blocked: deleting ?? (stopped ? undefined : 'deployments.blocked.running'), patch: { spec: { state: 'Running' } } },
    stop: { blocked: deleting ?? (stopped ? 'deployments.blocked.stopped' : undefined), patch: { spec: { state: 'Stopped' } } },
    restart: {
      blocked:
        deleting ??
        (stopped ? 'deployments.blocked.nothingRuns' : spec.paused ? 'deployments.blocked.pausedNoRestart' : undefined),
      patch: { spec: { template: { metadata: { annotations: { [RESTARTED]: moment } } } } },
    },
    pause: { blocked: deleting ?? (spec.paused ? 'deployments.blocked.paused' : undefined), patch: { spec: { paused: true } } },
    resume: {
      blocked: deleting ?? (spec.paused || atStep ? undefined : 'deployments.blocked.notPaused'),
      patch: spec.paused ? { spec: { paused: false } } : { metadata: { annotations: { [CANARY_RESUME]: step } } },
    },
  }
}

/** Why the number of replicas cannot be set: nodes have their own numbers, or it is going. */
export function scaleBlocked(deployment: Deployment): Blocked {
  return deployment.metadata.deletionTimestamp ? 'deployments.blocked.deleting' : undefined
}

/** The patch for new numbers; those of nodes that are wanted no more are removed by null. */
export function scalePatch(deployment: Deployment, replicas: number | Record<string, number>): Record<string, unknown> {
  if (typeof replicas === 'number') return { spec: { replicas } }
  const gone = Object.keys(deployment.spec.nodeReplicas ?? {}).filter((node) => !(node in replicas))
  return { spec: { nodeReplicas: { ...replicas, ...Object.fromEntries(gone.map((node) => [node, null])) } } }
}

/** An undo changes nothing while the rollout is paused, so it is not offered then. */
export function undoBlocked(deployment: Deployment, hasTarget: boolean): Blocked {
  if (deployment.metadata.deletionTimestamp) return 'deployments.blocked.deleting'
  if (deployment.spec.paused) return 'deployments.blocked.pausedNoUndo'
  return hasTarget ? undefined : 'deployments.blocked.noEarlier'
}
