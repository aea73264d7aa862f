/**
 * Where the nodes of a graph are drawn: pure, the same for the same graph, quick for thousands of nodes.
 *
 *     edges without cycles -> columns (longest way) -> order in columns (fewest crossings) -> heights (as level as possible)
 *
 * Long edges are led through places of their own in the columns between, so that they do not run over nodes.
 */

export interface LayoutNode {
  id: string
  width: number
  height: number
}
export interface LayoutEdge {
  from: string
  to: string
}
export interface Point {
  x: number
  y: number
}
export interface LayoutResult {
  /** Upper left corners. */
  places: Map<string, Point>
  /** For edges `from to` that pass columns: the points they go through. */
  bends: Map<string, Point[]>
  width: number
  height: number
}

export interface LayoutOptions {
  columnGap: number
  rowGap: number
}
const DEFAULTS: LayoutOptions = { columnGap: 72, rowGap: 22 }
const BEND_HEIGHT = 10
const MAX_BENDS = 20_000
/** More than this and long edges are drawn straight. */

export function edgeKey(from: string, to: string): string {
  return `${from}\u0000${to}`
}

interface Cell {
  index: number
  column: number
  width: number
  height: number
  y: number
  order: number
  before: number[]
  after: number[]
}

export function layout(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[], options: Partial<LayoutOptions> = {}): LayoutResult {
  const { columnGap, rowGap } = { ...DEFAULTS, ...options }
  const place = new Map(nodes.map((node, index) => [node.id, index]))
  const after: number[][] = nodes.map(() => [])
  const before: number[][] = nodes.map(() => [])
  for (const [from, to] of acyclic(nodes, edges, place)) {
    after[from]?.push(to)
    before[to]?.push(from)
  }
  const columns = columnsOf(before, after)
  const cells: Cell[] = nodes.map((node, index) => ({
    index, column: columns[index] as number, width: node.width, height: node.height, y: 0, order: 0, before: [], after: [],
  }))
  const chains = connectCells(cells, after)
  const layers = order(cells)
  setHeights(cells, layers, rowGap)

  const widths = layers.map((layer) => Math.max(0, ...layer.map((index) => (cells[index] as Cell).width)))
  const lefts: number[] = []
  widths.reduce((left, width, index) => ((lefts[index] = left), left + width + columnGap), 0)
  const top = Math.min(0, ...cells.map((cell) => cell.y))
  const places = new Map<string, Point>()
  let height = 0
  nodes.forEach((node, index) => {
    const cell = cells[index] as Cell
    const y = Math.round(cell.y - top)
    places.set(node.id, { x: lefts[cell.column] as number, y })
    height = Math.max(height, y + node.height)
  })
  const bends = new Map<string, Point[]>()
  for (const [from, to, through] of chains) {
    const points = through.map((index) => {
      const cell = cells[index] as Cell
      return { x: (lefts[cell.column] as number) + (widths[cell.column] as number) / 2, y: Math.round(cell.y - top + BEND_HEIGHT / 2) }
    })
    if (points.length > 0) bends.set(edgeKey((nodes[from] as LayoutNode).id, (nodes[to] as LayoutNode).id), points)
  }
  const last = layers.length - 1
  return { places, bends, width: last < 0 ? 0 : (lefts[last] as number) + (widths[last] as number), height }
}

/** Edges between known nodes, each once, without those that would close a cycle. */
function acyclic(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[], place: ReadonlyMap<string, number>): [number, number][] {
  const out: number[][] = nodes.map(() => [])
  const seen = new Set<number>()
  for (const edge of edges) {
    const from = place.get(edge.from)
    const to = place.get(edge.to)
    if (from === undefined || to === undefined || from === to || seen.has(from * nodes.length + to)) continue
    seen.add(from * nodes.length + to)
    out[from]?.push(to)
  }
  const state = new Uint8Array(nodes.length)
  const found: [number, number][] = []
  for (let start = 0; start < nodes.length; start++) {
    if (state[start]) continue
    const trail: [number, number][] = [[start, 0]]
    state[start] = 1
    while (trail.length > 0) {
      const top = trail[trail.length - 1] as [number, number]
      const next = out[top[0]]?.[top[1]++]
      if (next === undefined) {
        state[top[0]] = 2
        trail.pop()
      } else if (state[next] !== 1) {
        found.push([top[0], next])
        if (state[next] === 0) {
          state[next] = 1
          trail.push([next, 0])
        }
      }
    }
  }
  return found
}

/** The column of each node: the longest way to it; what nothing comes before stands just before what follows it. */
function columnsOf(before: readonly number[][], after: readonly number[][]): number[] {
  const waits = before.map((list) => list.length)
  const columns = before.map(() => 0)
  const ready = [...waits.keys()].filter((index) => waits[index] === 0)
  const sorted: number[] = []
  for (let at = 0; at < ready.length; at++) {
    const index = ready[at] as number
    sorted.push(index)
    for (const next of after[index] ?? []) {
      columns[next] = Math.max(columns[next] as number, (columns[index] as number) + 1)
      waits[next] = (waits[next] as number) - 1
      if (waits[next] === 0) ready.push(next)
    }
  }
  for (const index of sorted.reverse()) {
    const following = after[index] ?? []
    if ((before[index] ?? []).length === 0 && following.length > 0) columns[index] = Math.min(...following.map((next) => columns[next] as number)) - 1
  }
  return columns
}

/** Fills in neighbours, with cells of their own for long edges. Returns the cells that each edge goes through. */
function connectCells(cells: Cell[], after: readonly number[][]): [number, number, number[]][] {
  const chains: [number, number, number[]][] = []
  let spare = MAX_BENDS
  const count = after.length
  for (let from = 0; from < count; from++)
    for (const to of after[from] ?? []) {
      const source = cells[from] as Cell
      const target = cells[to] as Cell
      const length = target.column - source.column - 1
      const through: number[] = []
      let last = source
      if (length > 0 && length <= spare) {
        spare -= length
        for (let column = source.column + 1; column < target.column; column++) {
          const bend: Cell = { index: cells.length, column, width: 0, height: BEND_HEIGHT, y: 0, order: 0, before: [last.index], after: [] }
          last.after.push(bend.index)
          cells.push(bend)
          through.push(bend.index)
          last = bend
        }
      }
      last.after.push(to)
      target.before.push(last.index)
      chains.push([from, to, through])
    }
  return chains
}

/** The cells of each column from top to bottom: first as they were written, then nearer to their neighbours. */
function order(cells: Cell[]): number[][] {
  const layers: number[][] = []
  for (const cell of firstOrder(cells)) (layers[cell.column] ??= []).push(cell.index)
  for (let column = 0; column < layers.length; column++) layers[column] ??= []
  const number = (): void => layers.forEach((layer) => layer.forEach((index, at) => ((cells[index] as Cell).order = at)))
  number()
  const rounds = cells.length > 4000 ? 2 : cells.length > 800 ? 4 : 12
  let best = layers.map((layer) => [...layer])
  let fewest = crossings(cells, layers)
  for (let round = 0; round < rounds && fewest > 0; round++) {
    const down = round % 2 === 0
    for (let step = 1; step < layers.length; step++) {
      const column = down ? step : layers.length - 1 - step
      const layer = layers[column] as number[]
      const weights = new Map(layer.map((index) => [index, weight(cells, cells[index] as Cell, down)]))
      layer.sort((a, b) => (weights.get(a) as number) - (weights.get(b) as number) || (cells[a] as Cell).order - (cells[b] as Cell).order)
      layer.forEach((index, at) => ((cells[index] as Cell).order = at))
    }
    const now = crossings(cells, layers)
    if (now < fewest) {
      fewest = now
      best = layers.map((layer) => [...layer])
    }
  }
  best.forEach((layer, column) => {
    layers[column] = layer
  })
  number()
  return layers
}

/** Depth first from the beginnings: what belongs together stays together. */
function firstOrder(cells: Cell[]): Cell[] {
  const seen = new Uint8Array(cells.length)
  const found: Cell[] = []
  for (const start of cells) {
    if (seen[start.index] || start.before.length > 0) continue
    const pending = [start.index]
    while (pending.length > 0) {
      const index = pending.pop() as number
      if (seen[index]) continue
      seen[index] = 1
      const cell = cells[index] as Cell
      found.push(cell)
      for (let at = cell.after.length - 1; at >= 0; at--) pending.push(cell.after[at] as number)
    }
  }
  for (const cell of cells) if (!seen[cell.index]) found.push(cell)
  return found
}

function weight(cells: Cell[], cell: Cell, down: boolean): number {
  const near = down ? cell.before : cell.after
  if (near.length === 0) return cell.order
  const orders = near.map((index) => (cells[index] as Cell).order).sort((a, b) => a - b)
  const middle = orders.length >> 1
  return orders.length % 2 ? (orders[middle] as number) : ((orders[middle - 1] as number) + (orders[middle] as number)) / 2
}

/** Crossings between neighbouring columns, by a tree of counts: n log n. */
export function crossings(cells: readonly { order: number; after: number[] }[], layers: readonly number[][]): number {
  let total = 0
  for (let column = 0; column + 1 < layers.length; column++) {
    const size = (layers[column + 1] as number[]).length
    if (size === 0) continue
    const tree = new Int32Array(size + 1)
    let passed = 0
    for (const index of layers[column] as number[]) {
      const targets = (cells[index]?.after ?? []).map((next) => cells[next]?.order ?? 0)
      for (const target of targets) {
        let upTo = 0
        for (let at = target + 1; at > 0; at -= at & -at) upTo += tree[at] as number
        total += passed - upTo
      }
      for (const target of targets) {
        passed += 1
        for (let at = target + 1; at <= size; at += at & -at) tree[at] = (tree[at] as number) + 1
      }
    }
  }
  return total
}

/** Each cell as near to its neighbours' middle as the others of its column let it. */
function setHeights(cells: Cell[], layers: readonly number[][], gap: number): void {
  for (const layer of layers) {
    let y = 0
    for (const index of layer) {
      const cell = cells[index] as Cell
      cell.y = y
      y += cell.height + gap
    }
    for (const index of layer) (cells[index] as Cell).y -= (y - gap) / 2
  }
  const middle = (cell: Cell): number => cell.y + cell.height / 2
  const rounds = cells.length > 4000 ? 4 : 10
  for (let round = 0; round < rounds; round++) {
    const down = round % 2 === 0
    for (let step = 0; step < layers.length; step++) {
      const layer = layers[down ? step : layers.length - 1 - step] as number[]
      const wanted = layer.map((index) => {
        const cell = cells[index] as Cell
        const near = round >= rounds - 2 ? [...cell.before, ...cell.after] : down ? cell.before : cell.after
        if (near.length === 0) return cell.y
        return near.reduce((sum, one) => sum + middle(cells[one] as Cell), 0) / near.length - cell.height / 2
      })
      const heights = layer.map((index) => (cells[index] as Cell).height + gap)
      spaced(wanted, heights).forEach((y, at) => ((cells[layer[at] as number] as Cell).y = y))
    }
  }
}

/** The places nearest to the wanted ones (least squares) that keep the order and the distances. */
export function spaced(wanted: readonly number[], heights: readonly number[]): number[] {
  const offsets: number[] = []
  let sum = 0
  for (const height of heights) {
    offsets.push(sum)
    sum += height
  }
  // Blocks of neighbours that push each other take the mean of what they want.
  const blocks: { total: number; count: number }[] = []
  wanted.forEach((value, index) => {
    blocks.push({ total: value - (offsets[index] as number), count: 1 })
    while (blocks.length > 1) {
      const last = blocks[blocks.length - 1] as { total: number; count: number }
      const before = blocks[blocks.length - 2] as { total: number; count: number }
      if (before.total / before.count <= last.total / last.count) break
      before.total += last.total
      before.count += last.count
      blocks.pop()
    }
  })
  const result: number[] = []
  for (const block of blocks) for (let step = 0; step < block.count; step++) result.push(block.total / block.count + (offsets[result.length] as number))
  return result
}
