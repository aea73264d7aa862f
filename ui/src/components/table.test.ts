import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { AnyObj } from '@/api/objects'
import { RowOrder, filterRows, formatSort, parseSort, sortRows, wordsOf, type Column } from './table'

function row(name: string, count?: number, labels: Record<string, string> = {}): AnyObj {
  return { apiVersion: 'v1', kind: 'Thing', metadata: { name, uid: name, resourceVersion: '1', creationTimestamp: '', labels }, spec: { count } }
}
const columns: Column[] = [
  { id: 'name', label: 'Name', value: (item) => item.metadata.name },
  { id: 'count', label: 'Count', value: (item) => item.spec?.count as number | undefined },
]
const names = (rows: readonly AnyObj[]): string[] => rows.map((each) => each.metadata.name)
const text = (each: AnyObj): string => wordsOf(each, columns)

describe('the rows of a table', () => {
  it('sorts numbers as numbers and names as people do, with what is missing last both ways', () => {
    const rows = [row('web-10', 3), row('web-9', undefined), row('web-2', 20)]

    expect(names(sortRows(rows, columns, parseSort('name')))).toEqual(['web-2', 'web-9', 'web-10'])
    expect(names(sortRows(rows, columns, parseSort('count')))).toEqual(['web-10', 'web-2', 'web-9'])
    expect(names(sortRows(rows, columns, parseSort('-count')))).toEqual(['web-2', 'web-10', 'web-9'])
  })

  it('keeps every row exactly once, whatever it is sorted by', () => {
    fc.assert(
      fc.property(fc.array(fc.record({ name: fc.string(), count: fc.option(fc.integer(), { nil: undefined }) })), fc.constantFrom('name', '-name', 'count', '-count', 'nothing'), (values, sort) => {
        const rows = values.map((value) => row(value.name, value.count))
        const sorted = sortRows(rows, columns, parseSort(sort))
        expect(new Set(sorted)).toEqual(new Set(rows))
        expect(sorted).toHaveLength(rows.length)
      }),
    )
  })

  it('keeps the order while rows come, change and go, as if all had been sorted anew', () => {
    const change = fc.record({ name: fc.integer({ min: 0, max: 30 }), count: fc.option(fc.integer({ min: 0, max: 5 }), { nil: undefined }), gone: fc.boolean() })
    fc.assert(
      fc.property(fc.array(fc.array(change, { maxLength: 8 }), { maxLength: 12 }), fc.constantFrom('name', '-name', 'count', '-count'), (turns, sort) => {
        const order = new RowOrder<AnyObj>()
        const known = new Map<string, AnyObj>()
        for (const turn of turns) {
          for (const { name, count, gone } of turn) {
            if (gone) known.delete(`row-${name}`)
            else known.set(`row-${name}`, row(`row-${name}`, count))
          }
          const rows = [...known.values()]
          expect(order.of(rows, columns, parseSort(sort))).toEqual(sortRows(rows, columns, parseSort(sort)))
        }
      }),
    )
  })

  it('sees values that change while the row stays the same, and gives the same array when nothing moved', () => {
    const used = new Map([['a', 1], ['b', 2], ['c', 3]])
    const moving: Column[] = [{ id: 'used', label: '', value: (item) => used.get(item.metadata.name) }]
    const rows = [row('a'), row('b'), row('c')]
    const order = new RowOrder<AnyObj>()

    const first = order.of(rows, moving, parseSort('-used'))
    expect(names(first)).toEqual(['c', 'b', 'a'])
    expect(order.of([...rows], moving, parseSort('-used'))).toBe(first)
    used.set('a', 9)
    expect(names(order.of(rows, moving, parseSort('-used')))).toEqual(['a', 'c', 'b'])
    expect(names(order.of(rows.slice(1), moving, parseSort('-used')))).toEqual(['c', 'b'])
  })

  it('filters by all words, by labels and by what must not occur', () => {
    const rows = [row('web', 1, { tier: 'front' }), row('worker', 2, { tier: 'back' })]

    expect(names(filterRows(rows, 'tier=front', text))).toEqual(['web'])
    expect(names(filterRows(rows, 'w 2', text))).toEqual(['worker'])
    expect(names(filterRows(rows, '-back', text))).toEqual(['web'])
    expect(filterRows(rows, '  ', text)).toBe(rows)
  })

  it('writes an order into the address and reads it back', () => {
    expect(formatSort(parseSort('-age'))).toBe('-age')
    expect(parseSort('')).toBeUndefined()
  })

  it('filters and sorts 10,000 rows within a frame or few', () => {
    const rows = Array.from({ length: 10_000 }, (_, index) => row(`instance-${(index * 7919) % 10_000}`, index))

    expect(sortRows(filterRows(rows, 'instance', text), columns, parseSort('name'))[9_999]?.metadata.name).toBe('instance-9999')
  })
})
