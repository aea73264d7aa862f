import { describe, expect, it } from 'vitest'
import { metadata } from '../deployments/testing'
import { addressOf, originOf, serviceRows, shareOf, stateOf } from './model'
import type { Endpoint, EndpointSpec, EndpointStatus, Service } from './types'

function endpoint(name: string, spec: Partial<EndpointSpec> = {}, status?: EndpointStatus): Endpoint {
  return {
    apiVersion: 'plum.dev/v1',
    kind: 'Endpoint',
    metadata: metadata(name),
    spec: { service: 'orders', address: '10.0.0.1', port: 80, ...spec },
    status,
  }
}

function service(name: string): Service {
  return { apiVersion: 'plum.dev/v1', kind: 'Service', metadata: metadata(name), spec: {} }
}

const passing: EndpointStatus = { observedGeneration: 1, state: 'passing' }
const critical: EndpointStatus = { observedGeneration: 1, state: 'critical' }

describe('endpoints', () => {
  it('of a ready instance pass before their status says so', () => {
    expect(stateOf(endpoint('a', { instanceUid: 'u' }))).toBe('passing')
    expect(stateOf(endpoint('a', { instanceUid: 'u', ttl: '15s' }))).toBe('warning')
    expect(stateOf(endpoint('a'))).toBe('warning')
    expect(stateOf(endpoint('a', {}, critical))).toBe('critical')
  })

  it('are shown as what is opened, and where they come from', () => {
    expect(addressOf(endpoint('a', { protocol: 'http', address: 'fd00::1' }))).toBe('http://[fd00::1]:80')
    expect(addressOf(endpoint('a'))).toBe('10.0.0.1:80')
    expect(
      [endpoint('a', { instanceName: 'x' }), endpoint('a', { ttl: '1s', instanceName: 'x' }), endpoint('a')].map(originOf),
    ).toEqual(['instance', 'registered', 'manual'])
  })

  it('share requests by weight among those that take them', () => {
    const [one, two, bad] = [endpoint('a', { weight: 300 }, passing), endpoint('b', {}, passing), endpoint('c', {}, critical)]
    const all = [one, two, bad]
    expect(all.map((each) => shareOf(each, all))).toEqual([0.75, 0.25, undefined])
    const last = endpoint('d', {}, { observedGeneration: 1, state: 'warning' })
    expect(shareOf(last, [last, bad])).toBe(1)
  })
})

describe('services', () => {
  it('are there with an object and without, trouble first', () => {
    const rows = serviceRows(
      [service('orders'), service('empty')],
      [
        endpoint('a', {}, passing),
        endpoint('b', {}, critical),
        endpoint('c', { service: 'shop', version: '2', protocol: 'http' }, passing),
      ],
    )
    expect(rows.map((row) => [row.name, row.health, row.passing, row.critical, Boolean(row.service)])).toEqual([
      ['empty', 'none', 0, 0, true],
      ['orders', 'degraded', 1, 1, true],
      ['shop', 'passing', 1, 0, false],
    ])
    expect(rows[1]?.endpoints.map((one) => one.metadata.name)).toEqual(['b', 'a'])
    expect(rows[2]).toMatchObject({ protocols: ['http'], versions: ['2'] })
  })
})
