/** The kinds that the pages of applications and nodes read, as the server sends them: a field at its default is left out. */

import type { Condition, Obj } from '@/api/objects'
import type { Instance as DescribedInstance } from '@/api/types'

export type Phase =
  'Pending' | 'Scheduled' | 'Preparing' | 'Starting' | 'Running' | 'Stopping' | 'Stopped' | 'Succeeded' | 'Failed' | 'Unknown'

export interface Port {
  name: string
  port: number
  protocol?: string
  hostPort?: number
}

export interface ServicePort {
  name: string
  port: number | string
  protocol?: string
  version?: string
  weight?: number
}

export interface Probe {
  http?: { port: number | string; path?: string; scheme?: string; host?: string }
  tcp?: { port: number | string; host?: string }
  exec?: { command: string[] }
  grpc?: { port: number | string; service?: string }
  initialDelay?: string
  period?: string
  timeout?: string
  successThreshold?: number
  failureThreshold?: number
}

export interface EnvVar {
  name: string
  value?: string
  valueFrom?: Record<string, unknown>
}

export interface Template {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> }
  runtime?: 'process' | 'container'
  artifact?: { name?: string; version?: string; url?: string; sha256?: string }
  image?: string
  command?: string[]
  env?: EnvVar[]
  ports?: Port[]
  services?: ServicePort[]
  resources?: { requests?: Record<string, string>; limits?: Record<string, string>; devices?: string[] }
  probes?: { startup?: Probe; readiness?: Probe; liveness?: Probe }
  restartPolicy?: 'Always' | 'OnFailure' | 'Never'
  terminationGracePeriodSeconds?: number
  nodeSelector?: Record<string, string>
  exclusive?: boolean
  [field: string]: unknown
}

export interface Exit {
  code?: number
  signal?: string
  reason?: string
  message?: string
  startedAt?: string
  finishedAt?: string
}

export interface Refusal {
  nodeName?: string
  reason: string
  message?: string
}

export type InstanceStatus = {
  observedGeneration?: number
  phase?: Phase
  ready?: boolean
  reason?: string
  message?: string
  pid?: number
  containerId?: string
  address?: string
  ports?: { name: string; port: number; protocol?: string }[]
  startedAt?: string
  finishedAt?: string
  nextStartAt?: string
  restarts?: number
  observedRestartRequest?: string
  exit?: Exit
  lastExit?: Exit
  scheduling?: { refusals?: Refusal[] }
  conditions?: Condition[]
}

export type InstanceSpec = {
  nodeName?: string
  state?: 'Running' | 'Stopped'
  restartRequest?: string
  template: Template
}

export type Instance = Obj<InstanceSpec, InstanceStatus>

/** Label of an Instance: the Deployment that owns it. */
export const DEPLOYMENT_LABEL = 'plum.dev/deployment'
/** Label of an Instance: hash of the template it was made from. */
export const REVISION_LABEL = 'plum.dev/revision'
/** On an Instance that is to leave its node, because that is being emptied. */
export const EVICT_ANNOTATION = 'plum.dev/evict'

/** What lists of Instances do without: the template is the same text again and again. Its fields are not there in such a list. */
export const NOT_IN_LISTS = ['/spec/template']

/** The compiler refuses a field here that the API's description does not have. */
type Unknown<Mine, Theirs> = Exclude<keyof Mine, keyof Theirs>
const described: [Unknown<InstanceStatus, NonNullable<DescribedInstance['status']>>, Unknown<InstanceSpec, DescribedInstance['spec']>] extends [never, never] ? true : never = true
void described
