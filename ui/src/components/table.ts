/** What a table decides: which rows, in which order. Pure. */

import type { AnyObj } from '@/api/objects'

export interface Column<T extends AnyObj = AnyObj> {
  id: string
  /** Already in the user's language. */
  label: string
  /** What is sorted, filtered and, without a `cell-<id>` slot, shown. */
  value: (item: T) => string | number | boolean | undefined
  /** Width as a grid track: `minmax(120px, 1fr)`, `90px`. */
  width?: string
  align?: 'end'
  /** Not shown on a phone. */
  wide?: boolean
  /** Numbers and times sort downwards first. */
  descending?: boolean
  mono?: boolean
}

export interface Sort {
  column: string
  descending: boolean
}

/** `-age` -> age, downwards. */
export function parseSort(text: unknown): Sort | undefined {
  if (typeof text !== 'string' || !text) return undefined
  return text.startsWith('-') ? { column: text.slice(1), descending: true } : { column: text, descending: false }
}

export function formatSort(sort: Sort | undefined): string | undefined {
  return sort && `${sort.descending ? '-' : ''}${sort.column}`
}

const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' })

function compare(left: unknown, right: unknown): number {
  if (left === right) return 0
  // What has no value comes last, whichever way is sorted upwards.
  if (left === undefined || left === '') return 1
  if (right === undefined || right === '') return -1
  if (typeof left === 'number' && typeof right === 'number') return left - right
  if (typeof left === 'boolean' && typeof right === 'boolean') return Number(left) - Number(right)
  return collator.compare(String(left), String(right))
}

/** A new array, stable: equal rows keep the order of their names. */
export function sortRows<T extends AnyObj>(rows: readonly T[], columns: readonly Column<T>[], sort: Sort | undefined): T[] {
  const column = columns.find((each) => each.id === sort?.column)
  const keyed = rows.map((row) => ({ row, value: column?.value(row), name: `${row.metadata.namespace ?? ''}/${row.metadata.name}` }))
  const sign = sort?.descending ? -1 : 1
  keyed.sort((left, right) => {
    const by = column ? compare(left.value, right.value) : 0
    const missing = left.value === undefined || left.value === '' || right.value === undefined || right.value === ''
    return (missing ? by : sign * by) || collator.compare(left.name, right.name)
  })
  return keyed.map(({ row }) => row)
}

/**
 * Rows that have every word of the filter in one of their columns or labels. `key=value` asks for a label, `-word` for its absence.
 * `text` gives the words of a row; it is asked once per row and version of the row.
 */
export function filterRows<T extends AnyObj>(rows: readonly T[], filter: string, text: (row: T) => string): readonly T[] {
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean)
  if (!words.length) return rows
  return rows.filter((row) => {
    const haystack = text(row)
    return words.every((word) => (word.length > 1 && word.startsWith('-') ? !haystack.includes(word.slice(1)) : haystack.includes(word)))
  })
}

/** Everything a filter looks at, in lower case. */
export function wordsOf<T extends AnyObj>(row: T, columns: readonly Column<T>[]): string {
  const labels = Object.entries(row.metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`)
  return [row.metadata.name, row.metadata.namespace ?? '', ...columns.map((column) => column.value(row) ?? ''), ...labels].join('\n').toLowerCase()
}
