import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AnyObj } from '@/api/objects'
import { compare, differs } from './compare'
import { changedFields, desiredOf, interesting, rolledBack, type Version } from './history'

function deployment(spec: object, status?: object, metadata: object = {}): AnyObj {
  return {
    apiVersion: 'plum.dev/v1', kind: 'Deployment', spec: spec as never, status: status as never,
    metadata: { name: 'web', namespace: 'default', uid: 'u', resourceVersion: '5', creationTimestamp: '', generation: 2, ...metadata },
  }
}
const rows = (object: AnyObj): Record<string, boolean> => Object.fromEntries(compare(object).map((row) => [row.field, row.differs]))

describe('desired beside actual', () => {
  it('marks what differs, with the condition that explains it', () => {
    const object = deployment({ replicas: 3 }, {
      observedGeneration: 2, replicas: 3, updatedReplicas: 3, availableReplicas: 1,
      conditions: [{ type: 'Available', status: 'False', reason: 'MinimumUnavailable', message: '1 of 3' }],
    })

    expect(rows(object)).toEqual({ replicas: false, updatedReplicas: false, availableReplicas: true, generation: false })
    expect(compare(object).find((row) => row.differs)?.because?.reason).toBe('MinimumUnavailable')
  })

  it('wants nothing of what is stopped', () => {
    expect(rows(deployment({ replicas: 3, state: 'Stopped' }, { replicas: 0, observedGeneration: 2 }))).toMatchObject({ replicas: false, availableReplicas: false })
    const stopped = { replicas: 3, updatedReplicas: 3, observedGeneration: 2 }
    expect(rows(deployment({ replicas: 3, state: 'Stopped' }, { ...stopped, availableReplicas: 0 }))).toMatchObject({ replicas: false, updatedReplicas: false, availableReplicas: false })
    expect(rows(deployment({ replicas: 3, state: 'Stopped' }, { ...stopped, availableReplicas: 1 }))).toMatchObject({ availableReplicas: true })
  })

  it('compares what spec and status of a kind of a user both name', () => {
    const pump: AnyObj = { ...deployment({ flow: 12, modes: ['a'] }, { flow: 10, modes: ['a'] }), apiVersion: 'plant.example/v1', kind: 'Pump' }

    expect(rows(pump)).toEqual({ flow: true, modes: false })
    expect(differs(pump)).toBe(true)
  })

  it('compares each desired property of a device with what it reports', () => {
    const twin: AnyObj = { ...deployment({ desired: { speed: 3, on: true } }, { reported: { speed: { value: 2 }, on: { value: true } } }), kind: 'Resource' }

    expect(rows(twin)).toEqual({ 'desired.speed': true, 'desired.on': false })
  })
})

function version(revision: number, spec: object, status: object = {}, operation = 'update'): Version {
  return { revision: String(revision), time: '', operation, manager: 'someone', object: deployment(spec, status, { resourceVersion: String(revision) }) }
}

describe('the history of an object', () => {
  it('leaves out versions that only the status wrote', () => {
    const versions = [version(1, { a: 1 }, {}, 'create'), version(2, { a: 1 }, { x: 1 }), version(10, { a: 2 }), version(11, { a: 2 }, { x: 2 })]

    expect(interesting(versions).map((each) => each.revision)).toEqual(['10', '1'])
    expect(interesting(versions, true).map((each) => each.revision)).toEqual(['11', '10', '2', '1'])
  })

  it('keeps the end of an object, and its return', () => {
    const versions = [version(1, { a: 1 }, {}, 'create'), version(2, { a: 1 }, {}, 'delete'), version(3, { a: 1 }, {}, 'create')]

    expect(interesting(versions).map((each) => each.revision)).toEqual(['3', '2', '1'])
  })

  it('names the fields that changed', () => {
    expect(changedFields(deployment({ replicas: 1, template: { command: ['a'], env: [] } }), deployment({ replicas: 2, template: { command: ['b'], env: [] } }))).toEqual(['spec.replicas', 'spec.template.command'])
  })

  it('brings back the desired state and the labels of people, and leaves what is Plum’s own', () => {
    const live = deployment({ replicas: 5 }, { x: 1 }, { labels: { tier: 'new', 'plum.dev/sync': 'demo' }, finalizers: ['f'] })
    const old = deployment({ replicas: 1 }, {}, { labels: { tier: 'old', 'plum.dev/sync': 'other' }, resourceVersion: '1', uid: 'before' })

    const back = rolledBack(live, old)

    expect(back.spec).toEqual({ replicas: 1 })
    expect(back.status).toBeUndefined()
    expect(back.metadata).toMatchObject({ uid: 'u', resourceVersion: '5', finalizers: ['f'], labels: { tier: 'old', 'plum.dev/sync': 'demo' } })
  })

  it('is the old desired state after any rollback', () => {
    const labels = fc.option(fc.dictionary(fc.constantFrom('a', 'b', 'plum.dev/x'), fc.constantFrom('1', '2')), { nil: undefined })
    fc.assert(
      fc.property(fc.object(), fc.object(), labels, labels, (now, then, one, two) => {
        const back = rolledBack(deployment(now, {}, { labels: one }), deployment(then, {}, { labels: two }))
        expect(desiredOf(back).spec).toEqual(then)
        const own = (entries: Record<string, string> | undefined): string | undefined => entries?.['plum.dev/x']
        expect(own(back.metadata.labels)).toBe(own(one))
        expect(back.metadata.labels?.a).toBe(two?.a)
      }),
    )
  })
})
