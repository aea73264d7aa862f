/**
 * How a definition is read: its graphs, nodes and edges, with the short forms that people may write.
 *
 *     spec.nodes, spec.onFailure, spec.finally, body of a loop or map --graphAt(scope)--> nodes --edgesOf--> edges
 *
 * Nothing here changes a definition; that is what `commands.ts` does.
 */
import type { Json } from '@/components/yaml/json'

export type NodeType = (typeof NODE_TYPES)[number]
export const NODE_TYPES = [
  'task', 'branch', 'condition', 'parallel', 'loop', 'map', 'subworkflow', 'wait',
  'http', 'script', 'agent', 'llm', 'mcp', 'database', 'email', 'webhook', 'operation',
] as const

export const TRIGGER_RULES = [
  'all_success', 'none_failed_min_one_success', 'all_done', 'all_done_min_one_success', 'all_failed', 'all_skipped',
  'none_failed', 'none_skipped', 'one_success', 'one_failed', 'one_done', 'always',
] as const

export type JsonMap = { [key: string]: Json }
/** A node as it is written, short forms included. */
export type RawNode = JsonMap

export interface Edge {
  node: string
  on: string
}

export type Part = 'main' | 'onFailure' | 'finally'

/** One graph of a definition: a part, and the loops and maps whose bodies lead to it. */
export interface Scope {
  part: Part
  bodies: readonly string[]
}

export const MAIN: Scope = { part: 'main', bodies: [] }

export function sameScope(a: Scope, b: Scope): boolean {
  return a.part === b.part && a.bodies.length === b.bodies.length && a.bodies.every((name, index) => name === b.bodies[index])
}

export function scopeKey(scope: Scope): string {
  return [scope.part, ...scope.bodies].join('/')
}

/** Below a spec that people may have got wrong anything can be found: only what is a list of objects counts. */
export function nodesOf(graph: unknown): RawNode[] {
  const list = Array.isArray(graph) ? graph : isMap(graph) ? graph.nodes : undefined
  return Array.isArray(list) ? (list.filter(isMap) as RawNode[]) : []
}

/** The nodes of a graph; none if it is not there. */
export function graphAt(spec: unknown, scope: Scope): RawNode[] {
  if (!isMap(spec)) return []
  let nodes = scope.part === 'main' ? nodesOf(spec.nodes) : nodesOf(spec[scope.part])
  for (const name of scope.bodies) {
    const owner = nodes.find((node) => nameOf(node) === name)
    nodes = nodesOf(owner?.body)
  }
  return nodes
}

/** Whether the way to a graph is still there. */
export function hasScope(spec: unknown, scope: Scope): boolean {
  if (!isMap(spec)) return scope.bodies.length === 0
  let nodes = scope.part === 'main' ? nodesOf(spec.nodes) : nodesOf(spec[scope.part])
  for (const name of scope.bodies) {
    const owner = nodes.find((node) => nameOf(node) === name)
    if (!owner || !hasBody(typeOf(owner))) return false
    nodes = nodesOf(owner.body)
  }
  return true
}

export function nameOf(node: RawNode): string {
  return typeof node.name === 'string' ? node.name : node.name === undefined || node.name === null ? '' : String(node.name)
}

export function typeOf(node: RawNode): NodeType {
  const type = node.type
  return (NODE_TYPES as readonly unknown[]).includes(type) ? (type as NodeType) : 'task'
}

export function hasBody(type: NodeType): boolean {
  return type === 'loop' || type === 'map'
}

/** Edges into a node, from names or objects. */
export function edgesOf(node: RawNode): Edge[] {
  const raw = node.dependsOn
  const list: Json[] = typeof raw === 'string' ? [raw] : Array.isArray(raw) ? raw : []
  const found: Edge[] = []
  for (const item of list) {
    if (typeof item === 'string') found.push({ node: item, on: '' })
    else if (isMap(item) && typeof item.node === 'string') {
      const on = item.on ?? item.true
      found.push({ node: item.node, on: on === undefined || on === null ? '' : String(on) })
    }
  }
  return found
}

/** The shortest way to write edges, and nothing when there are none. */
export function writeEdges(edges: readonly Edge[]): Json[] | undefined {
  if (edges.length === 0) return undefined
  return edges.map((edge) => (edge.on ? { node: edge.node, on: edge.on } : edge.node))
}

/** Outcomes that edges from a node may name. */
export function outcomesOf(node: RawNode): string[] {
  const type = typeOf(node)
  if (type !== 'branch' && type !== 'condition') return []
  const cases = Array.isArray(node.cases) ? node.cases.filter(isMap) : []
  if (cases.length === 0) return ['true', 'false']
  const names = cases.map((one) => String(one.name ?? '')).filter(Boolean)
  if (typeof node.defaultCase === 'string' && node.defaultCase) names.push(node.defaultCase)
  return [...new Set(names)]
}

/** Nodes somewhere after a branch: what joins there has another default rule. */
export function afterBranches(nodes: readonly RawNode[]): Set<string> {
  const after = new Map<string, string[]>()
  for (const node of nodes) for (const edge of edgesOf(node)) push(after, edge.node, nameOf(node))
  const found = new Set<string>()
  const pending = nodes.filter((node) => outcomesOf(node).length > 0).flatMap((node) => after.get(nameOf(node)) ?? [])
  while (pending.length > 0) {
    const name = pending.pop() as string
    if (found.has(name)) continue
    found.add(name)
    pending.push(...(after.get(name) ?? []))
  }
  return found
}

/** The rule by which a node starts, as the engine fills it in. */
export function ruleOf(node: RawNode, after: Set<string>): string {
  if (typeof node.triggerRule === 'string' && node.triggerRule) return node.triggerRule
  const edges = edgesOf(node)
  const joins = edges.length > 1 && after.has(nameOf(node))
  return joins || edges.some((edge) => edge.on) ? 'none_failed_min_one_success' : 'all_success'
}

/** For each node the names that come before it; cycles do no harm. */
export function ancestorsOf(nodes: readonly RawNode[]): Map<string, Set<string>> {
  const before = new Map(nodes.map((node) => [nameOf(node), edgesOf(node).map((edge) => edge.node)]))
  const found = new Map<string, Set<string>>()
  for (const start of before.keys()) {
    const trail: [string, number][] = [[start, 0]]
    const onTrail = new Set([start])
    while (trail.length > 0) {
      const top = trail[trail.length - 1] as [string, number]
      const [name, at] = top
      const edges = before.get(name) ?? []
      if (found.has(name) || at >= edges.length) {
        if (!found.has(name)) {
          const all = new Set<string>()
          for (const one of edges) {
            all.add(one)
            for (const other of found.get(one) ?? []) all.add(other)
          }
          found.set(name, all)
        }
        trail.pop()
        onTrail.delete(name)
        continue
      }
      top[1] += 1
      const next = edges[at] as string
      if (before.has(next) && !found.has(next) && !onTrail.has(next)) {
        trail.push([next, 0])
        onTrail.add(next)
      }
    }
  }
  return found
}

/** Says whether one name comes before another, without gathering everything that does: for graphs of thousands of nodes. */
export function whatComesBefore(nodes: readonly RawNode[]): (early: string, late: string) => boolean {
  const before = new Map(nodes.map((node) => [nameOf(node), edgesOf(node).map((edge) => edge.node)]))
  return (early, late) => {
    const seen = new Set<string>()
    const pending = [late]
    while (pending.length > 0)
      for (const name of before.get(pending.pop() as string) ?? []) {
        if (name === early) return true
        if (!seen.has(name)) {
          seen.add(name)
          pending.push(name)
        }
      }
    return false
  }
}

/** All graphs of a definition, bodies included. */
export function* allScopes(spec: unknown): Generator<{ scope: Scope; nodes: RawNode[] }> {
  const pending: Scope[] = [MAIN]
  if (isMap(spec)) for (const part of ['onFailure', 'finally'] as const) if (spec[part] !== undefined) pending.push({ part, bodies: [] })
  while (pending.length > 0) {
    const scope = pending.shift() as Scope
    const nodes = graphAt(spec, scope)
    yield { scope, nodes }
    if (scope.bodies.length < 16)
      for (const node of nodes) if (hasBody(typeOf(node))) pending.push({ part: scope.part, bodies: [...scope.bodies, nameOf(node)] })
  }
}

export function isMap(value: unknown): value is JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function push(map: Map<string, string[]>, key: string, value: string): void {
  const list = map.get(key)
  if (list) list.push(value)
  else map.set(key, [value])
}
