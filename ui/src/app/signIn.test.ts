import { describe, expect, it } from 'vitest'
import { linkOf, nextPage } from './signIn'

describe('after signing in', () => {
  it('goes back to where one was', () => {
    expect(nextPage('/deployments/default/web?tab=diff')).toBe('/deployments/default/web?tab=diff')
  })
  it.each(['https://evil.example', '//evil.example', '/\\evil.example', 'javascript:alert(1)', '/login?next=/login', undefined, ['/a']])('goes nowhere else: %s', (next) => {
    expect(nextPage(next)).toBe('/')
  })
})

describe('the code of a link', () => {
  it('is behind the hash', () => expect(linkOf('#link=plum_a-b_c')).toBe('plum_a-b_c'))
  it('is empty without one', () => expect(linkOf('')).toBe(''))
})
