/**
 * Compares JSON values, and says which items of two lists are the same item.
 */

/** `string` before `boolean`: by that order Vue decides that an empty text given to a component's property is a text, and not `true`. */
export type Json = null | string | boolean | number | Json[] | { [key: string]: Json }

export function isObject(value: Json): value is Record<string, Json> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether two JSON values are equal; the order of keys does not count. */
export function isEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === 0 && b === 0
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false
    return a.every((item, index) => isEqual(item, b[index]))
  }
  const left = a as Record<string, unknown>
  const right = b as Record<string, unknown>
  const keys = Object.keys(left)
  if (keys.length !== Object.keys(right).length) return false
  return keys.every((key) => Object.hasOwn(right, key) && isEqual(left[key], right[key]))
}

const MAX_TABLE = 4_000_000
/** Cells of the table that finds the longest common part; beyond it, items are matched by place. */

/** Pairs [index in a, index in b] of items that are the same one, in rising order on both sides. */
export function matchLists(a: readonly Json[], b: readonly Json[]): [number, number][] {
  const left = a.map(identity)
  const right = b.map(identity)
  const found: [number, number][] = []
  let start = 0
  while (start < left.length && start < right.length && left[start] === right[start]) found.push([start, start++])
  let endA = left.length
  let endB = right.length
  const tail: [number, number][] = []
  while (endA > start && endB > start && left[endA - 1] === right[endB - 1]) tail.unshift([--endA, --endB])
  const anchors = longestCommon(left.slice(start, endA), right.slice(start, endB)).map(([x, y]): [number, number] => [x + start, y + start])
  let x = start
  let y = start
  for (const [nextX, nextY] of [...anchors, [endA, endB] as [number, number]]) {
    // As many old as new ones between two that stay: they were changed, not exchanged.
    if (nextX - x === nextY - y) for (let step = 0; step < nextX - x; step++) found.push([x + step, y + step])
    if (nextX < endA) found.push([nextX, nextY])
    x = nextX + 1
    y = nextY + 1
  }
  return [...found, ...tail]
}

function identity(value: Json): string {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    if (typeof value.name === 'string') return `name ${value.name}`
    if (typeof value.node === 'string') return `node ${value.node} ${String(value.on ?? '')}`
  }
  return JSON.stringify(value)
}

function longestCommon(a: readonly string[], b: readonly string[]): [number, number][] {
  const rows = a.length
  const columns = b.length
  if (rows === 0 || columns === 0 || rows * columns > MAX_TABLE) return []
  const table = Array.from({ length: rows + 1 }, () => new Uint16Array(columns + 1))
  for (let i = rows - 1; i >= 0; i--) {
    const row = table[i] as Uint16Array
    const below = table[i + 1] as Uint16Array
    for (let j = columns - 1; j >= 0; j--) row[j] = a[i] === b[j] ? (below[j + 1] as number) + 1 : Math.max(below[j] as number, row[j + 1] as number)
  }
  const found: [number, number][] = []
  let i = 0
  let j = 0
  while (i < rows && j < columns) {
    if (a[i] === b[j]) found.push([i++, j++])
    else if (((table[i + 1] as Uint16Array)[j] as number) >= ((table[i] as Uint16Array)[j + 1] as number)) i++
    else j++
  }
  return found
}
