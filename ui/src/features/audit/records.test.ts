import { describe, expect, it } from 'vitest'
import { outcomeOf, rowOf, subjectOf, type AuditRecord } from './records'

const record = (more: Partial<AuditRecord>): AuditRecord => ({ seq: 7, time: '2026-01-01T00:00:00Z', user: 'anna', verb: 'create', code: 201, ...more })

describe('a record', () => {
  it.each([[200, 'succeeded'], [101, 'succeeded'], [401, 'refused'], [403, 'refused'], [404, 'failed'], [409, 'failed'], [500, 'failed']])('with code %i has %s', (code, outcome) => {
    expect(outcomeOf(record({ code }))).toBe(outcome)
  })
  it('names the object it is about', () => {
    expect(subjectOf(record({ resource: 'deployments', subresource: 'scale', namespace: 'default', name: 'web' }))).toBe('deployments/scale default/web')
    expect(subjectOf(record({ resource: 'nodes', name: 'n1' }))).toBe('nodes n1')
    expect(subjectOf(record({ resource: 'tokens' }))).toBe('tokens')
  })
  it('names the path of what is no object', () => expect(subjectOf(record({ path: '/session' }))).toBe('/session'))
  it('is a row of its own', () => expect(rowOf(record({})).metadata.uid).toBe('7'))
})
