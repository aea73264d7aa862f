import { describe, expect, it } from 'vitest'
import type { AnyObj } from '@/api/objects'
import { bytes, capacity, healthOf, quantity, troubles } from './health'

function node(name: string, ready: 'True' | 'False' | 'Unknown', allocatable: object = {}): AnyObj {
  return {
    apiVersion: 'plum.dev/v1', kind: 'Node', metadata: { name, uid: name, resourceVersion: '1', creationTimestamp: '' }, spec: {},
    status: { conditions: [{ type: 'Ready', status: ready }], allocatable },
  }
}
const deployment: AnyObj = {
  apiVersion: 'plum.dev/v1', kind: 'Deployment', metadata: { name: 'd', uid: 'd', resourceVersion: '1', creationTimestamp: '' },
  spec: { replicas: 3, template: { resources: { requests: { cpu: '500m', memory: '1Gi' } } } }, status: { replicas: 3 },
}

describe('the overview', () => {
  it.each([['500m', 0.5], ['2', 2], ['8Gi', 8 * 1024 ** 3], ['24682416Ki', 24682416 * 1024], ['1036000000n', 1.036], ['1e3', 1000], [undefined, 0], ['many', 0]])('reads the quantity %j', (text, value) => {
    expect(quantity(text)).toBeCloseTo(value)
  })

  it('counts by tone, worst first', () => {
    expect(healthOf([node('a', 'True'), node('b', 'False'), node('c', 'Unknown'), node('d', 'True')])).toEqual({
      total: 4, well: 2, shares: [{ tone: 'bad', count: 1 }, { tone: 'unknown', count: 1 }, { tone: 'ok', count: 2 }],
    })
  })

  it('begins with what is worst and leaves out what is well', () => {
    expect(troubles([node('a', 'True'), node('c', 'Unknown'), node('b', 'False')]).map((each) => each.object.metadata.name)).toEqual(['b', 'c'])
  })

  it('counts the room of nodes that are there, and what their instances ask for', () => {
    const rows = capacity([node('a', 'True', { cpu: '4', memory: '8Gi', instances: '100' }), node('b', 'False', { cpu: '4' })], [deployment], [{ cpu: 1.2, memory: 1024 }])

    expect(rows[0]).toEqual({ resource: 'cpu', allocatable: 4, requested: 1.5, used: 1.2 })
    expect(rows[1]!.requested).toBe(3 * 1024 ** 3)
    expect(rows[2]).toMatchObject({ allocatable: 100, requested: 3 })
  })

  it('shows bytes as people read them', () => {
    expect([bytes(0), bytes(1536), bytes(47.1 * 1024 ** 3)]).toEqual(['0 B', '1.5 KiB', '47.1 GiB'])
  })
})
