import { describe, expect, it } from 'vitest'
import { rank, score } from './palette'
import { allows, type Rule } from './permissions'

describe('the palette', () => {
  const names = ['web', 'web-2', 'my-web', 'workflow', 'cobweb'].map((label) => ({ id: label, label, hint: 'Deployment · default' }))

  it('puts what begins with the word first, then what has a part that does', () => {
    expect(rank(names, 'web', 9).map((each) => each.label)).toEqual(['web', 'web-2', 'my-web', 'cobweb'])
  })

  it('wants every word, in the name or beside it', () => {
    expect(rank(names, 'web depl', 9)).toHaveLength(4)
    expect(score({ id: 'x', label: 'web', keywords: 'create' }, 'web delete')).toBe(0)
  })
})

describe('the palette over very many', () => {
  it('finds the best of 10,000 as if all had been sorted', () => {
    const many = Array.from({ length: 10_000 }, (_, index) => ({ id: `${index}`, label: `fleet-${(index * 7919) % 10_000}`, hint: 'Instance · default' }))
    const sorted = many.map((one) => ({ one, value: score(one, 'flee 99') })).filter(({ value }) => value > 0)
      .sort((left, right) => right.value - left.value || left.one.label.localeCompare(right.one.label)).map(({ one }) => one.label)

    expect(rank(many, 'flee 99', 12).map((one) => one.label)).toEqual(sorted.slice(0, 12))
    expect(rank(many, 'nothing', 12)).toEqual([])
    expect(rank(many.slice(0, 3), '', 12)).toHaveLength(3)
  })
})

describe('permissions', () => {
  const rules: Rule[] = [
    { verbs: ['get', 'list'], apiGroups: ['plum.dev'], resources: ['deployments'] },
    { verbs: ['patch'], apiGroups: ['plum.dev'], resources: ['deployments'], resourceNames: ['web'] },
    { verbs: ['*'], apiGroups: [''], resources: ['*'] },
    { verbs: ['create'], apiGroups: ['plum.dev'], resources: ['*/exec'] },
  ]

  it.each([
    ['get', 'plum.dev', 'deployments', undefined, true],
    ['delete', 'plum.dev', 'deployments', undefined, false],
    ['patch', 'plum.dev', 'deployments', 'web', true],
    ['patch', 'plum.dev', 'deployments', 'other', false],
    ['patch', 'plum.dev', 'deployments', undefined, false],
    ['delete', '', 'events', undefined, true],
    ['create', 'plum.dev', 'instances/exec', undefined, true],
    ['create', 'plum.dev', 'instances', undefined, false],
  ])('%s %s/%s %s: %s', (verb, group, resource, name, expected) => {
    expect(allows(rules, verb, group, resource, name)).toBe(expected)
  })
})
