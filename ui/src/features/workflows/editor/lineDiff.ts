/** Lines that two texts do not have in common, with a few lines around. Pure; Myers' way, so that thousands of lines are quick. */

export interface DiffLine {
  kind: 'same' | 'gone' | 'come' | 'skip'
  text: string
  /** Line numbers, from 1. */
  before: number | null
  after: number | null
}
const AROUND = 3
const MOST_EDITS = 3000

export function lineDiff(before: string, after: string, around = AROUND): DiffLine[] {
  const a = before === '' ? [] : before.replace(/\n$/, '').split('\n')
  const b = after === '' ? [] : after.replace(/\n$/, '').split('\n')
  const all = edits(a, b)
  const keep = new Uint8Array(all.length)
  all.forEach((line, index) => {
    if (line.kind === 'same') return
    for (let at = Math.max(0, index - around); at <= Math.min(all.length - 1, index + around); at++) keep[at] = 1
  })
  const result: DiffLine[] = []
  all.forEach((line, index) => {
    if (keep[index]) result.push(line)
    else if (result[result.length - 1]?.kind !== 'skip') result.push({ kind: 'skip', text: '', before: null, after: null })
  })
  return result
}

function edits(a: readonly string[], b: readonly string[]): DiffLine[] {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let endA = a.length
  let endB = b.length
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--
    endB--
  }
  const lines: DiffLine[] = []
  const same = (x: number, y: number): void => void lines.push({ kind: 'same', text: a[x] ?? '', before: x + 1, after: y + 1 })
  for (let at = 0; at < start; at++) same(at, at)
  let x = start
  let y = start
  for (const [nextX, nextY] of [...common(a.slice(start, endA), b.slice(start, endB)).map(([p, q]) => [p + start, q + start] as const), [endA, endB] as const]) {
    while (x < nextX) lines.push({ kind: 'gone', text: a[x] ?? '', before: ++x, after: null })
    while (y < nextY) lines.push({ kind: 'come', text: b[y] ?? '', before: null, after: ++y })
    if (nextX < endA) same(x++, y++)
  }
  while (x < a.length) same(x++, y++)
  return lines
}

/** Pairs of lines that stay, by the shortest way from one text to the other. */
function common(a: readonly string[], b: readonly string[]): [number, number][] {
  const most = Math.min(a.length + b.length, MOST_EDITS)
  const reach = new Map<number, number>([[1, 0]])
  const trace: Map<number, number>[] = []
  for (let edit = 0; edit <= most; edit++) {
    trace.push(new Map(reach))
    for (let k = -edit; k <= edit; k += 2) {
      let x = k === -edit || (k !== edit && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1)) ? (reach.get(k + 1) ?? 0) : (reach.get(k - 1) ?? 0) + 1
      let y = x - k
      while (x < a.length && y < b.length && a[x] === b[y]) {
        x++
        y++
      }
      reach.set(k, x)
      if (x >= a.length && y >= b.length) return walk(trace, a.length, b.length, edit)
    }
  }
  return []
}

function walk(trace: Map<number, number>[], endX: number, endY: number, edits: number): [number, number][] {
  const found: [number, number][] = []
  let x = endX
  let y = endY
  for (let edit = edits; edit >= 0; edit--) {
    const reach = trace[edit] as Map<number, number>
    const k = x - y
    const down = k === -edit || (k !== edit && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1))
    const fromK = down ? k + 1 : k - 1
    const fromX = edit === 0 ? 0 : (reach.get(fromK) ?? 0)
    const fromY = edit === 0 ? 0 : fromX - fromK
    while (x > fromX && y > fromY && (edit === 0 || x > (down ? fromX : fromX + 1))) {
      found.push([--x, --y])
    }
    x = fromX
    y = fromY
  }
  return found.reverse()
}
