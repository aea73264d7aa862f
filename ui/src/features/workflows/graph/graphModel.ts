/**
 * From the nodes of a definition to what is drawn: boxes with places, and edges between them. Pure.
 *
 *     nodes --layout, places set by hand--> boxes, edges         --neighbourOf--> where an arrow key leads
 */
import { edgeKey, layout } from '../model/layout'
import type { Point } from '../model/layout'
import { afterBranches, edgesOf, hasBody, isMap, nameOf, nodesOf, ruleOf, typeOf } from '../model/definition'
import type { NodeType, RawNode } from '../model/definition'

export const BOX_WIDTH = 212
export const BOX_HEIGHT = 56

export interface Box {
  id: string
  type: NodeType
  title: string
  /** What it does, in a few words of the definition itself. */
  detail: string
  x: number
  y: number
  width: number
  height: number
  /** Its trigger rule, where it is not the usual one. */
  rule: string
  /** How many nodes its body has; 0 without one. */
  inside: number
  /** It stands where somebody put it. */
  placed: boolean
}
export interface Link {
  id: string
  from: string
  to: string
  on: string
  bends: readonly Point[]
}
export interface GraphModel {
  boxes: Box[]
  links: Link[]
  byId: Map<string, Box>
  width: number
  height: number
}

export function linkId(from: string, to: string, on: string): string {
  return `${from}>${to}:${on}`
}

export function graphModel(nodes: readonly RawNode[]): GraphModel {
  const seen = new Set<string>()
  const named = nodes.filter((node) => nameOf(node) !== '' && !seen.has(nameOf(node)) && seen.add(nameOf(node)))
  const edges = named.flatMap((node) => edgesOf(node).filter((edge) => seen.has(edge.node)).map((edge) => ({ from: edge.node, to: nameOf(node), on: edge.on })))
  const { places, bends } = layout(named.map((node) => ({ id: nameOf(node), width: BOX_WIDTH, height: BOX_HEIGHT })), edges)
  const after = afterBranches(named)
  const boxes = named.map((node): Box => {
    const placed = isMap(node.position)
    const place = placed ? positionOf(node) : (places.get(nameOf(node)) ?? { x: 0, y: 0 })
    const type = typeOf(node)
    return {
      id: nameOf(node), type, title: typeof node.displayName === 'string' && node.displayName ? node.displayName : nameOf(node), detail: detailOf(node, type),
      x: place.x, y: place.y, width: BOX_WIDTH, height: BOX_HEIGHT,
      rule: typeof node.triggerRule === 'string' && node.triggerRule ? ruleOf(node, after) : '', inside: hasBody(type) ? nodesOf(node.body).length : 0, placed,
    }
  })
  const byId = new Map(boxes.map((box) => [box.id, box]))
  // Two edges of a branch to the same node are one line with two words.
  const links = edges.map((edge): Link => {
    const moved = byId.get(edge.from)?.placed || byId.get(edge.to)?.placed
    return { id: linkId(edge.from, edge.to, edge.on), ...edge, bends: moved ? [] : (bends.get(edgeKey(edge.from, edge.to)) ?? []) }
  })
  const width = Math.max(0, ...boxes.map((box) => box.x + box.width))
  const height = Math.max(0, ...boxes.map((box) => box.y + box.height))
  return { boxes, links, byId, width, height }
}

function positionOf(node: RawNode): Point {
  const position = isMap(node.position) ? node.position : {}
  const number = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0)
  return { x: number(position.x), y: number(position.y) }
}

function detailOf(node: RawNode, type: NodeType): string {
  const config = isMap(node.config) ? node.config : {}
  const text = (value: unknown): string => (typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '')
  switch (type) {
    case 'task': return text(node.taskRef)
    case 'subworkflow': return text(node.workflowRef)
    case 'branch':
    case 'condition':
      return text(node.condition) || (isMap(node.compare) ? [node.compare.field, node.compare.operator, node.compare.value].map(text).join(' ') : '') ||
        (Array.isArray(node.cases) ? node.cases.filter(isMap).map((one) => text(one.name)).join(' · ') : '')
    case 'loop': return node.count !== undefined && node.count !== null ? `× ${text(node.count)}` : node.while ? `while ${text(node.while)}` : `until ${text(node.until)}`
    case 'map': return Array.isArray(node.items) ? `${node.items.length} items` : text(node.items)
    case 'parallel': return node.maxParallel ? `≤ ${text(node.maxParallel)}` : ''
    case 'wait': {
      const wait = isMap(node.wait) ? node.wait : {}
      if (isMap(wait.approval)) return text(wait.approval.message)
      if (isMap(wait.event)) return text(wait.event.kind) || text(wait.event.type)
      return text(wait.duration) || text(wait.until) || text(wait.condition)
    }
    case 'http':
    case 'webhook':
    case 'mcp':
      return text(config.url)
    case 'script': return text(config.script) || text(config.command) || (text(config.code).split('\n')[0] ?? '')
    case 'agent': return text(config.agent) || text(config.task)
    case 'llm': return text(config.model) || text(config.prompt)
    case 'database': return text(config.query)
    case 'operation': return [config.resource, config.method].map(text).filter(Boolean).join(' · ')
    case 'email': return text(config.subject)
  }
}

export type Direction = 'left' | 'right' | 'up' | 'down'

/** Where an arrow key leads: along edges to the sides, to the nearest box of the column up and down. */
export function neighbourOf(model: GraphModel, id: string | undefined, direction: Direction): string | undefined {
  const box = id === undefined ? undefined : model.byId.get(id)
  if (!box) return [...model.boxes].sort((a, b) => a.x - b.x || a.y - b.y)[0]?.id
  if (direction === 'left' || direction === 'right') {
    const near = model.links.flatMap((link) => (direction === 'right' ? (link.from === id ? [link.to] : []) : link.to === id ? [link.from] : []))
    return nearest(near.map((one) => model.byId.get(one)).filter((one) => one !== undefined), (one) => Math.abs(one.y - box.y))?.id
  }
  const sign = direction === 'down' ? 1 : -1
  const others = model.boxes.filter((one) => (one.y - box.y) * sign > 0)
  return nearest(others, (one) => Math.abs(one.y - box.y) + Math.abs(one.x - box.x) * 3)?.id
}

function nearest(boxes: readonly Box[], distance: (box: Box) => number): Box | undefined {
  let best: Box | undefined
  for (const box of boxes) if (!best || distance(box) < distance(best)) best = box
  return best
}

/** Boxes that touch a rectangle, as many as `most`. */
export function boxesIn(model: GraphModel, left: number, top: number, right: number, bottom: number, most: number): Box[] {
  const found: Box[] = []
  for (const box of model.boxes) {
    if (box.x > right || box.y > bottom || box.x + box.width < left || box.y + box.height < top) continue
    found.push(box)
    if (found.length >= most) break
  }
  return found
}

/** The box at a point. */
export function boxAt(model: GraphModel, x: number, y: number): Box | undefined {
  return model.boxes.find((box) => x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height)
}

/** A line from box to box, through bends where it has some: level where it starts and ends. */
export function pathThrough(points: readonly Point[]): string {
  const first = points[0]
  if (!first) return ''
  let path = `M${first.x},${first.y}`
  for (let index = 1; index < points.length; index++) {
    const from = points[index - 1] as Point
    const to = points[index] as Point
    const pull = Math.max(18, Math.abs(to.x - from.x) / 2)
    path += ` C${from.x + pull},${from.y} ${to.x - pull},${to.y} ${to.x},${to.y}`
  }
  return path
}
