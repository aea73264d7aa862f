/** Services with the endpoints that answer for them, whether an object says how or only instances offer them. Pure. */

import type { Endpoint, EndpointState, Service } from './types'

export interface ServiceRow {
  key: string
  namespace: string
  name: string
  /** Absent for a service that instances offer and no object describes. */
  service: Service | undefined
  endpoints: Endpoint[]
  passing: number
  warning: number
  critical: number
  protocols: string[]
  versions: string[]
  health: ServiceHealth
}

/** none: nobody offers it. */
export type ServiceHealth = 'passing' | 'degraded' | 'critical' | 'none'

/** The state that counts: an endpoint is made from an instance because that is ready, so it is passing before its status says so. */
export function stateOf(endpoint: Endpoint): EndpointState {
  const { spec, status } = endpoint
  if (spec.instanceUid && !spec.ttl && !status?.observedGeneration) return 'passing'
  return status?.state ?? 'warning'
}

export type EndpointOrigin = 'instance' | 'registered' | 'manual'

export function originOf(endpoint: Endpoint): EndpointOrigin {
  if (endpoint.spec.ttl) return 'registered'
  return endpoint.spec.instanceName ? 'instance' : 'manual'
}

const URGENCY: Readonly<Record<ServiceHealth, number>> = { critical: 0, none: 1, degraded: 2, passing: 3 }
const WORST: Readonly<Record<EndpointState, number>> = { critical: 0, warning: 1, passing: 2 }

/** What needs somebody first. */
export function serviceRows(services: readonly Service[], endpoints: readonly Endpoint[]): ServiceRow[] {
  const rows = new Map<string, { namespace: string; name: string; service?: Service; endpoints: Endpoint[] }>()
  const row = (namespace: string, name: string) => {
    const key = `${namespace}/${name}`
    const known = rows.get(key) ?? { namespace, name, endpoints: [] }
    rows.set(key, known)
    return known
  }
  for (const service of services) row(service.metadata.namespace ?? '', service.metadata.name).service = service
  for (const endpoint of endpoints) row(endpoint.metadata.namespace ?? '', endpoint.spec.service).endpoints.push(endpoint)
  return [...rows]
    .map(([key, one]) => finished(key, one))
    .sort(
      (left, right) =>
        URGENCY[left.health] - URGENCY[right.health] || left.name.localeCompare(right.name) || left.key.localeCompare(right.key),
    )
}

function finished(key: string, one: { namespace: string; name: string; service?: Service; endpoints: Endpoint[] }): ServiceRow {
  const counts: Record<EndpointState, number> = { passing: 0, warning: 0, critical: 0 }
  for (const endpoint of one.endpoints) counts[stateOf(endpoint)] += 1
  const said = (names: (string | undefined)[]): string[] =>
    [...new Set(names.filter((name): name is string => Boolean(name)))].sort()
  return {
    key,
    namespace: one.namespace,
    name: one.name,
    service: one.service,
    endpoints: [...one.endpoints].sort(
      (left, right) => WORST[stateOf(left)] - WORST[stateOf(right)] || left.metadata.name.localeCompare(right.metadata.name),
    ),
    ...counts,
    protocols: said([one.service?.spec.protocol, ...one.endpoints.map((endpoint) => endpoint.spec.protocol ?? 'tcp')]),
    versions: said(one.endpoints.map((endpoint) => endpoint.spec.version)),
    health: healthOf(counts, one.endpoints.length),
  }
}

function healthOf(counts: Readonly<Record<EndpointState, number>>, all: number): ServiceHealth {
  if (all === 0) return 'none'
  if (counts.passing === all) return 'passing'
  return counts.passing + counts.warning > 0 ? 'degraded' : 'critical'
}

/** `http://10.0.0.1:8080`, or `10.0.0.1:5432` for what is not spoken in a browser. */
export function addressOf(endpoint: Endpoint): string {
  const { address, port, protocol = 'tcp' } = endpoint.spec
  const host = `${address.includes(':') ? `[${address}]` : address}:${port}`
  return protocol === 'http' || protocol === 'https' ? `${protocol}://${host}` : host
}

/** The share of requests that an endpoint gets, by weight, of those that take requests; undefined when it takes none. */
export function shareOf(endpoint: Endpoint, all: readonly Endpoint[]): number | undefined {
  const taking = all.some((one) => stateOf(one) === 'passing') ? 'passing' : 'warning'
  if (stateOf(endpoint) !== taking) return undefined
  const weight = (one: Endpoint): number => one.spec.weight ?? 100
  const sum = all.filter((one) => stateOf(one) === taking).reduce((total, one) => total + weight(one), 0)
  return sum > 0 ? weight(endpoint) / sum : undefined
}
