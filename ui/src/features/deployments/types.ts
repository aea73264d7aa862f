/** Deployment and Revision as the server sends them: a field at its default is left out. */

import type { Condition, Obj } from '@/api/objects'
import type { Template } from '../instances/types'

export interface CanaryStep {
  weight?: number
  replicas?: number
  pause?: string
}

export interface Strategy {
  type?: 'RollingUpdate' | 'Recreate' | 'Canary'
  maxSurge?: string | number
  maxUnavailable?: string | number
  minReadySeconds?: number
  progressDeadlineSeconds?: number
  onFailure?: 'Rollback' | 'Pause' | 'Ignore'
  canary?: { steps?: CanaryStep[] }
}

export type DeploymentSpec = {
  replicas?: number
  nodeReplicas?: Record<string, number>
  state?: 'Running' | 'Stopped'
  paused?: boolean
  revisionHistoryLimit?: number
  strategy?: Strategy
  template: Template
}

export interface RolloutStatus {
  hash?: string
  generation?: number
  startedAt?: string
  progressedAt?: string
  complete?: boolean
  failedAt?: string
  canaryStep?: number
  canaryStepAt?: string
}

export type DeploymentStatus = {
  observedGeneration?: number
  replicas?: number
  readyReplicas?: number
  availableReplicas?: number
  updatedReplicas?: number
  unavailableReplicas?: number
  revision?: number
  revisionHash?: string
  lastAvailableRevision?: string
  rollout?: RolloutStatus
  conditions?: Condition[]
}

export type Deployment = Obj<DeploymentSpec, DeploymentStatus>

export type RevisionSpec = {
  target: { kind: string; name: string }
  number: number
  hash: string
  template?: Template
  changeCause?: string
}

export type Revision = Obj<RevisionSpec, { availableAt?: string; failedAt?: string; reason?: string; message?: string }>
