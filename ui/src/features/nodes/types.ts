/** Node as the server sends it: a field at its default is left out. */

import type { Condition, Obj } from '@/api/objects'

export type TaintEffect = 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute'

export interface Taint {
  key: string
  value?: string
  effect: TaintEffect
  timeAdded?: string
}

export interface Link {
  measuredAt: string
  answerMilliseconds?: number
  roundTripMilliseconds?: number
  lossPercent?: number
  timeoutSeconds?: number
  breaker?: 'Closed' | 'Open' | 'Probing'
  requests?: number
  failures?: number
  retries?: number
  bytesSent?: number
  bytesReceived?: number
  queued?: number
  outages?: number
  lastOutage?: { began: string; seconds?: number }
}

export interface Device {
  name: string
  path?: string
  healthy?: boolean
}

export type NodeSpec = {
  unschedulable?: boolean
  taints?: Taint[]
  leaseSeconds?: number
  drain?: { deadlineSeconds?: number; requestedAt?: string; ignorePinned?: boolean }
}

export type NodeStatus = {
  observedGeneration?: number
  capacity?: Record<string, string>
  allocatable?: Record<string, string>
  addresses?: { type: string; address: string }[]
  agentVersion?: string
  runtimes?: string[]
  engine?: { available?: boolean; name?: string; version?: string; message?: string }
  os?: string
  arch?: string
  kernel?: string
  devices?: Device[]
  link?: Link
  lastSeen?: string
  conditions?: Condition[]
}

export type Node = Obj<NodeSpec, NodeStatus>
