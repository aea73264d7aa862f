/**
 * When the nodes of a run ran, and which of them made it as long as it is.
 *
 *     rows, edges --bars--> start and length of each row          --criticalPath--> names, from the first to the last
 */
import type { Row } from './rows'
import { parseKey } from './rows'

export interface Bar {
  row: Row
  /** Nested as deep as this. */
  depth: number
  /** Milliseconds since 1970. */
  from: number
  to: number
  open: boolean
}

/** Bars of everything that started, in the order of their start; iterations below the loop that they belong to. */
export function bars(rows: readonly Row[], now: number): Bar[] {
  const found: Bar[] = []
  for (const row of rows) {
    if (!row.startedAt) continue
    const from = Date.parse(row.startedAt)
    const to = row.finishedAt ? Date.parse(row.finishedAt) : now
    if (Number.isNaN(from) || row.reused) continue
    found.push({ row, depth: parseKey(row.key).path.length - 1, from, to: Math.max(from, to), open: !row.finishedAt })
  }
  const start = new Map<string, number>()
  for (const bar of found) start.set(bar.row.key, bar.from)
  const rank = (key: string): [number, string][] => {
    const parts = key.split('.')
    return parts.map((_, index) => {
      const prefix = parts.slice(0, index + 1).join('.')
      return [start.get(prefix) ?? start.get(prefix.replace(/\[\d+\]$/, '')) ?? 0, prefix]
    })
  }
  const ranks = new Map(found.map((bar) => [bar.row.key, rank(bar.row.key)]))
  return found.sort((a, b) => compare(ranks.get(a.row.key) ?? [], ranks.get(b.row.key) ?? []))
}

function compare(a: readonly [number, string][], b: readonly [number, string][]): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    const [startA, keyA] = a[at] as [number, string]
    const [startB, keyB] = b[at] as [number, string]
    // The same loop, whatever its iteration, stays together.
    const same = keyA.replace(/\[\d+\]$/, '') === keyB.replace(/\[\d+\]$/, '')
    if (keyA === keyB) continue
    if (same) return keyA < keyB ? -1 : 1
    if (startA !== startB) return startA - startB
    return keyA < keyB ? -1 : 1
  }
  return a.length - b.length
}

export interface Interval {
  name: string
  from: number
  to: number
}

/** The chain of nodes that the end waited for: from what ended last, always to the one before it that ended last. */
export function criticalPath(intervals: readonly Interval[], edges: readonly { from: string; to: string }[]): string[] {
  const known = new Map(intervals.map((one) => [one.name, one]))
  const before = new Map<string, string[]>()
  for (const edge of edges) before.set(edge.to, [...(before.get(edge.to) ?? []), edge.from])
  let current: Interval | undefined
  for (const one of intervals) if (!current || one.to > current.to || (one.to === current.to && one.from > current.from)) current = one
  const path: string[] = []
  const seen = new Set<string>()
  while (current && !seen.has(current.name)) {
    path.unshift(current.name)
    seen.add(current.name)
    current = lastBefore(current.name, known, before)
  }
  return path
}

/** What a node waited for last. Nodes that never ran (skipped) are looked through. */
function lastBefore(name: string, known: ReadonlyMap<string, Interval>, before: ReadonlyMap<string, string[]>): Interval | undefined {
  let last: Interval | undefined
  const seen = new Set<string>()
  const pending = [...(before.get(name) ?? [])]
  while (pending.length > 0) {
    const one = pending.pop() as string
    if (seen.has(one)) continue
    seen.add(one)
    const interval = known.get(one)
    if (!interval) pending.push(...(before.get(one) ?? []))
    else if (!last || interval.to > last.to) last = interval
  }
  return last
}

/** Round steps for an axis of so many milliseconds: at most `most` of them. */
export function axisStep(milliseconds: number, most: number): number {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000,
    1_800_000, 3_600_000, 7_200_000, 14_400_000, 21_600_000, 43_200_000, 86_400_000, 604_800_000]
  return steps.find((step) => milliseconds / step <= most) ?? Math.ceil(milliseconds / most)
}
