import { describe, expect, it } from 'vitest'
import { actionsOf, scalePatch, undoBlocked } from './actions'
import { changesBetween, revisionRows, shortly, undoTarget } from './revisions'
import { percentDone, progressOf, urgencyOf, wantedOf } from './rollout'
import { deployment, progressing, revision } from './testing'

const NOW = new Date('2026-11-21T13:00:00.123Z')

describe('progress', () => {
  it('counts what is wanted however it is said', () => {
    expect(wantedOf({ template: {} })).toBe(1)
    expect(wantedOf({ template: {}, replicas: 0 })).toBe(0)
    expect(wantedOf({ template: {}, nodeReplicas: { a: 2, b: 3 } })).toBe(5)
  })

  it.each([
    ['RolloutComplete', 3, 'complete'],
    ['RolloutComplete', 2, 'degraded'],
    ['RollingOut', 2, 'rollingOut'],
    ['CanaryPaused', 1, 'canary'],
    ['Paused', 3, 'paused'],
    ['ProgressDeadlineExceeded', 1, 'failed'],
    ['RolledBack', 3, 'rolledBack'],
  ])('%s with %i available is %s', (reason, availableReplicas, word) => {
    expect(progressOf(deployment({ replicas: 3 }, { ...progressing(reason), availableReplicas })).word).toBe(word)
  })

  it('is unseen until the controller has seen the last change, and stopped when it is to be', () => {
    expect(progressOf(deployment({}, progressing('RolloutComplete'), { generation: 2 })).word).toBe('unseen')
    expect(progressOf(deployment({ state: 'Stopped' })).word).toBe('stopped')
    expect(progressOf(deployment({ state: 'Stopped' }, { readyReplicas: 1 })).word).toBe('stopping')
    expect(progressOf(deployment({}, {}, { deletionTimestamp: 'now' })).word).toBe('deleting')
  })

  it('goes from nothing to all', () => {
    expect(percentDone(3, 0, 3, 3)).toBe(0)
    expect(percentDone(3, 1, 1, 3)).toBe(22)
    expect(percentDone(3, 3, 3, 0)).toBe(100)
    expect(percentDone(0, 0, 0, 0)).toBe(100)
  })

  it('knows the deadline and the step of a canary', () => {
    const rolling = deployment(
      { strategy: { type: 'Canary', progressDeadlineSeconds: 60, canary: { steps: [{ weight: 10 }, { weight: 50 }] } } },
      {
        ...progressing('RollingOut'),
        rollout: { startedAt: '2026-11-21T12:00:00Z', progressedAt: '2026-11-21T12:01:00Z', canaryStep: 1 },
      },
    )
    expect(progressOf(rolling)).toMatchObject({ deadlineAt: '2026-11-21T12:02:00.000Z', canary: { step: 2, steps: 2 } })
  })

  it('sorts trouble first', () => {
    const [good, bad] = [
      deployment({}, { ...progressing('RolloutComplete'), availableReplicas: 1 }),
      deployment({}, progressing('RolledBack', 'False')),
    ]
    expect(urgencyOf(bad)).toBeLessThan(urgencyOf(good))
  })
})

describe('revisions', () => {
  const one = { command: ['a'], ports: [{ name: 'http', port: 80 }] }
  const two = { command: ['a'], ports: [{ name: 'http', port: 81 }], image: 'x:2' }

  it('come newest first, with what changed', () => {
    const rows = revisionRows(deployment({}, { revisionHash: 'h2', rollout: { hash: 'h2' } }), [
      revision(2, 'h2', two),
      revision(1, 'h1', one, { availableAt: 'then' }),
    ])
    expect(rows.map((row) => [row.number, row.state, row.current])).toEqual([
      [2, 'untried', true],
      [1, 'available', false],
    ])
    expect(rows[0]?.changes).toEqual([
      { path: 'ports[http].port', before: 80, after: 81 },
      { path: 'image', before: undefined, after: 'x:2' },
    ])
    expect(rows[1]?.changes).toEqual([])
  })

  it('an undo goes to the one before; after an automatic rollback to the one that runs', () => {
    const revisions = [revision(1, 'h1', one), revision(2, 'h2', two)]
    const normal = deployment({}, { revisionHash: 'h2' })
    expect(undoTarget(normal, revisionRows(normal, revisions))?.number).toBe(1)
    const rolledBack = deployment({}, { ...progressing('RolledBack', 'False'), revisionHash: 'h1', rollout: { hash: 'h2' } })
    expect(undoTarget(rolledBack, revisionRows(rolledBack, revisions))?.number).toBe(1)
    expect(undoTarget(normal, revisionRows(normal, [revision(2, 'h2', two)]))).toBeUndefined()
  })

  it('differences of lists without names are shown whole, and equal values are none', () => {
    expect(changesBetween({ a: [1, 2], b: { c: 1 } }, { a: [1, 3], b: { c: 1 } })).toEqual([
      { path: 'a', before: [1, 2], after: [1, 3] },
    ])
    expect(shortly(['a', 1])).toBe('["a",1]')
    expect(shortly('x'.repeat(80), 10)).toBe('xxxxxxxxx…')
  })
})

describe('what can be done', () => {
  it('start and stop exclude each other', () => {
    expect(actionsOf(deployment(), NOW).start.blocked).toBe('deployments.blocked.running')
    expect(actionsOf(deployment({ state: 'Stopped' }), NOW)).toMatchObject({
      start: { blocked: undefined, patch: { spec: { state: 'Running' } } },
      stop: { blocked: 'deployments.blocked.stopped' },
      restart: { blocked: 'deployments.blocked.nothingRuns' },
    })
  })

  it('a restart notes the time in the template', () => {
    expect(actionsOf(deployment(), NOW).restart.patch).toEqual({
      spec: { template: { metadata: { annotations: { 'plum.dev/restartedAt': '2026-11-21T13:00:00Z' } } } },
    })
  })

  it('a resume ends a pause, or the wait of a canary', () => {
    expect(actionsOf(deployment({ paused: true }), NOW).resume.patch).toEqual({ spec: { paused: false } })
    const canary = deployment({}, { ...progressing('CanaryPaused'), rollout: { hash: 'h', canaryStep: 2 } })
    expect(actionsOf(canary, NOW).resume).toEqual({
      blocked: undefined,
      patch: { metadata: { annotations: { 'plum.dev/canary-resume': 'h/2' } } },
    })
    expect(actionsOf(deployment(), NOW).resume.blocked).toBe('deployments.blocked.notPaused')
  })

  it('nothing while it is being deleted', () => {
    const going = deployment({}, {}, { deletionTimestamp: 'now' })
    expect(Object.values(actionsOf(going, NOW)).every((action) => action.blocked === 'deployments.blocked.deleting')).toBe(true)
  })

  it('scaling removes nodes that are wanted no more', () => {
    expect(scalePatch(deployment({ replicas: 1 }), 4)).toEqual({ spec: { replicas: 4 } })
    expect(scalePatch(deployment({ nodeReplicas: { a: 1, b: 2 } }), { b: 3 })).toEqual({
      spec: { nodeReplicas: { a: null, b: 3 } },
    })
  })

  it('an undo needs somewhere to go and a rollout that moves', () => {
    expect(undoBlocked(deployment({ paused: true }), true)).toBe('deployments.blocked.pausedNoUndo')
    expect(undoBlocked(deployment(), false)).toBe('deployments.blocked.noEarlier')
    expect(undoBlocked(deployment(), true)).toBeUndefined()
  })
})
