import { describe, expect, it } from 'vitest'
import type { Sync } from '@/api/types'
import { countsOf, isSuspended, patches, sourceOf, whyNotApprove, whyNotRollBack, type Action, type Change } from './model'

function sync(spec: object, status: object = {}): Sync {
  return { apiVersion: 'plum.dev/v1', kind: 'Sync', metadata: { name: 's', namespace: 'default', uid: '1', resourceVersion: '1', creationTimestamp: '' }, spec: { source: { folder: { path: '/srv' } }, ...spec }, status } as unknown as Sync
}

describe('where manifests are', () => {
  it.each([
    [{ folder: { path: '/srv/manifests' } }, '/srv/manifests'],
    [{ git: { url: 'https://git/x', branch: 'main', path: 'prod' } }, 'https://git/x @ main / prod'],
    [{ git: { url: 'https://git/x' } }, 'https://git/x'],
    [{ bundle: { path: 'b.tar' } }, 'b.tar'],
  ])('%j', (source, text) => expect(sourceOf(sync({ source }))).toBe(text))
})

describe('suspension', () => {
  const now = Date.parse('2026-01-01T12:00:00Z')
  it('lasts until it is taken back', () => expect(isSuspended(sync({ suspend: true }), now)).toBe(true))
  it('or until a time', () => {
    expect(isSuspended(sync({ suspendUntil: '2026-01-01T12:00:01Z' }), now)).toBe(true)
    expect(isSuspended(sync({ suspendUntil: '2026-01-01T12:00:00Z' }), now)).toBe(false)
  })
  it('is one or the other', () => {
    expect(patches.suspend(undefined, 'why')).toEqual({ spec: { suspend: true, suspendUntil: null, suspendReason: 'why' } })
    expect(patches.suspend(new Date(now), '')).toEqual({ spec: { suspend: false, suspendUntil: '2026-01-01T12:00:00Z', suspendReason: null } })
  })
})

describe('what can be done', () => {
  it('approves what is blocked, at the revision that was tried', () => {
    const blocked = sync({}, { phase: 'Blocked', attemptedRevision: 'abc' })
    expect(whyNotApprove(blocked)).toBe('')
    expect(patches.approve(blocked)).toEqual({ spec: { approveDelete: 'abc' } })
    expect(whyNotApprove(sync({}, { phase: 'Synced' }))).toBe('notBlocked')
  })
  it('rolls back to another revision, and remembers what was newest', () => {
    const now = sync({}, { appliedRevision: 'b', sourceRevision: 'b' })
    expect(whyNotRollBack(now, 'a')).toBe('')
    expect(whyNotRollBack(now, 'b')).toBe('thisRevision')
    expect(patches.rollBack(now, 'a', '')).toEqual({ spec: { hold: { revision: 'a', newest: 'b', reason: null } } })
  })
})

describe('counts of a plan', () => {
  it('tell what goes first', () => {
    const change = (action: Action) => ({ action }) as Change
    expect(countsOf([change('create'), change('delete'), change('create')])).toEqual([['delete', 1], ['create', 2]])
  })
})
