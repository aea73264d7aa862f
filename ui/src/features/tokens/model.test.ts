import { describe, expect, it } from 'vitest'
import type { Token } from '@/api/types'
import { bindingOf, groupsOf, isOver, rolesToGive, tokenOf, useOf } from './model'

const token = (spec: object): Token => ({ apiVersion: 'plum.dev/v1', kind: 'Token', metadata: { name: 't', uid: '1', resourceVersion: '1', creationTimestamp: '' }, spec: { user: 'a', ...spec } }) as unknown as Token

describe('what a token proves', () => {
  it.each([[{}, 'token'], [{ login: {} }, 'session'], [{ login: { link: true } }, 'link'], [{ join: {} }, 'join'], [{ certificate: 'ab' }, 'certificate']])('%j is a %s', (spec, use) => {
    expect(useOf(token(spec))).toBe(use)
  })
  it('is over when its time has come', () => {
    const at = Date.parse('2026-06-01T00:00:00Z')
    expect(isOver(token({ expiresAt: '2026-06-01T00:00:00Z' }), at)).toBe(true)
    expect(isOver(token({ expiresAt: '2026-06-01T00:00:01Z' }), at)).toBe(false)
    expect(isOver(token({}), at)).toBe(false)
  })
})

describe('a wanted token', () => {
  it('ends when its life is over', () => {
    const made = tokenOf({ user: ' alice ', groups: 'ops, dev ops', days: 7, description: ' laptop ' }, Date.parse('2026-01-01T00:00:00.500Z'))
    expect(made.spec).toEqual({ user: 'alice', groups: ['ops', 'dev'], description: 'laptop', expiresAt: '2026-01-08T00:00:00Z' })
  })
  it('may have no end', () => expect(tokenOf({ user: 'a', groups: '', days: 0, description: '' }, 0).spec).toEqual({ user: 'a', groups: [] }))
})

describe('groups', () => {
  it('are separated by commas and spaces', () => expect(groupsOf('a, b  c,,a')).toEqual(['a', 'b', 'c']))
})

describe('the role of a new token', () => {
  it('is one for people, given under one name to each user', () => {
    expect(rolesToGive(['view', 'system:basic-user', 'edit', 'plum:worker'])).toEqual(['edit', 'view'])
    expect(bindingOf('vera', 'view')).toMatchObject({ metadata: { name: 'view:vera' }, roleRef: { kind: 'ClusterRole', name: 'view' }, subjects: [{ kind: 'User', name: 'vera' }] })
  })
})
