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
