import { describe, expect, it } from 'vitest'
import { cellOf, valueAt } from './columns'
import { columns } from './generated/columns'

const object = { spec: { flow: 3, sites: ['a', 'b'], 'plum.dev/x': 1 }, status: { conditions: [{ type: 'Ready', status: 'True' }, { type: 'Other', status: 'False' }] } }

describe('columns of kinds', () => {
  it.each([
    ['.spec.flow', 3],
    ['$.spec.flow', 3],
    ['{.spec.flow}', 3],
    ['.spec.sites[1]', 'b'],
    ['.spec.sites[*]', ['a', 'b']],
    ['.spec.plum\\.dev/x', 1],
    ["['spec'].flow", 3],
    ['.status.conditions[?(@.type=="Ready")].status', 'True'],
    ['.status.nothing.deeper', undefined],
  ])('read %s', (path, value) => {
    expect(valueAt(object, path)).toEqual(value)
  })

  it('show lists as words and the rest as it is written', () => {
    expect(cellOf(object, { name: '', type: 'string', path: '.spec.sites', wide: false })).toBe('a, b')
    expect(cellOf(object, { name: '', type: 'string', path: '.status', wide: false })).toContain('"Ready"')
  })

  it('of all built-in kinds can be read', () => {
    for (const [kind, declared] of Object.entries(columns)) for (const column of declared) expect(() => cellOf({}, column), `${kind} ${column.path}`).not.toThrow()
  })
})
