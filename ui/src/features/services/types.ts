/** Service and Endpoint as the server sends them: a field at its default is left out. */

import type { Condition, Obj } from '@/api/objects'

export type EndpointState = 'passing' | 'warning' | 'critical'

export interface HealthCheck {
  http?: { port: number | string; path?: string; scheme?: string }
  tcp?: { port: number | string }
  period?: string
  timeout?: string
  successThreshold?: number
  failureThreshold?: number
  startupGrace?: string
}

export type ServiceSpec = {
  selector?: Record<string, string>
  port?: number | string
  protocol?: string
  version?: string
  strategy?: string
  hashKey?: string
  healthCheck?: HealthCheck
  timeout?: string
  retries?: { limit?: number; on?: string[] }
  circuitBreaker?: { failures?: number; openFor?: string }
  outlierEjection?: { errorPercent?: number; minRequests?: number; interval?: string; maxEjectedPercent?: number }
}

export type ServiceStatus = { endpoints?: number; passing?: number; conditions?: Condition[] }

export type Service = Obj<ServiceSpec, ServiceStatus>

export type EndpointSpec = {
  service: string
  address: string
  port: number
  protocol?: string
  version?: string
  weight?: number
  labels?: Record<string, string>
  instanceName?: string
  instanceUid?: string
  nodeName?: string
  zone?: string
  healthCheck?: HealthCheck
  ttl?: string
  heartbeatAt?: string
  healthy?: boolean
}

export type EndpointStatus = {
  observedGeneration?: number
  state?: EndpointState
  checkedAt?: string
  failures?: number
  message?: string
  conditions?: Condition[]
}

export type Endpoint = Obj<EndpointSpec, EndpointStatus>
