/**
 * Changes of a definition, each a pure function from one value to another. What is not concerned stays the same object.
 *
 *     spec --connect, rename, paste, ...--> spec          the text follows by `patchYaml`, undo by `history.ts`
 */
import type { Json } from '@/components/yaml/json'
import { edgesOf, graphAt, hasBody, isMap, nameOf, nodesOf, outcomesOf, typeOf, writeEdges } from './definition'
import type { Edge, JsonMap, NodeType, RawNode, Scope } from './definition'
import { bare, renamedIn, renamedInValue } from './references'

export type Spec = JsonMap

/** Replace the nodes of one graph. */
export function withGraph(spec: Spec, scope: Scope, change: (nodes: RawNode[]) => RawNode[]): Spec {
  if (scope.bodies.length > 0) {
    const [first, ...rest] = scope.bodies
    return withPart(spec, scope, (nodes) => nodes.map((node) => (nameOf(node) === first ? inBody(node, rest, change) : node)))
  }
  return withPart(spec, scope, change)
}

function withPart(spec: Spec, scope: Scope, change: (nodes: RawNode[]) => RawNode[]): Spec {
  if (scope.part === 'main') {
    const before = nodesOf(spec.nodes)
    const nodes = change(before)
    return nodes === before ? spec : { ...spec, nodes }
  }
  const graph = spec[scope.part]
  const nodes = change(nodesOf(graph))
  if (nodes.length === 0) {
    const { [scope.part]: _, ...rest } = spec
    return rest
  }
  return { ...spec, [scope.part]: isMap(graph) ? { ...graph, nodes } : { nodes } }
}

function inBody(node: RawNode, rest: readonly string[], change: (nodes: RawNode[]) => RawNode[]): RawNode {
  const body = node.body
  const before = nodesOf(body)
  const nodes = rest.length === 0 ? change(before) : before.map((one) => (nameOf(one) === rest[0] ? inBody(one, rest.slice(1), change) : one))
  return { ...node, body: Array.isArray(body) ? nodes : { ...(isMap(body) ? body : {}), nodes } }
}

/** A name that is free in a graph: `scan`, `scan-2`, ... */
export function freeName(nodes: readonly RawNode[], wanted: string): string {
  const taken = new Set(nodes.map(nameOf))
  const base = wanted.replace(/[^A-Za-z0-9_-]/g, '-').replace(/^-+/, '').slice(0, 58) || 'node'
  if (!taken.has(base)) return base
  const stem = base.replace(/-\d+$/, '')
  for (let number = 2; ; number++) if (!taken.has(`${stem}-${number}`)) return `${stem}-${number}`
}

/** What a new node of a type says at first: complete enough to be read, with what only people know left to them. */
export function blankNode(type: NodeType, name: string): RawNode {
  const node: RawNode = type === 'task' ? { name, taskRef: 'builtin.echo' } : { name, type }
  switch (type) {
    case 'branch':
    case 'condition':
      return { ...node, condition: 'true' }
    case 'loop':
      return { ...node, count: 3, body: { nodes: [{ name: 'step', taskRef: 'builtin.echo' }] } }
    case 'map':
      return { ...node, items: ['a', 'b'], body: { nodes: [{ name: 'step', taskRef: 'builtin.echo', payload: { item: '${{ item }}' } }] } }
    case 'wait':
      return { ...node, wait: { approval: { message: '' } } }
    case 'http':
      return { ...node, config: { url: 'https://', method: 'GET' } }
    case 'webhook':
      return { ...node, config: { url: 'https://', event: name } }
    case 'script':
      return { ...node, config: { code: 'print("hello")\n', interpreter: 'python3' } }
    case 'agent':
      return { ...node, config: { agent: '' } }
    case 'llm':
      return { ...node, config: { prompt: '' } }
    case 'mcp':
      return { ...node, config: { url: 'https://', tool: '' } }
    case 'database':
      return { ...node, config: { url: 'sqlite:///data.db', query: 'SELECT 1' } }
    case 'email':
      return { ...node, config: { to: [], subject: '', text: '' } }
    case 'operation':
      return { ...node, config: { resource: '', method: '' } }
    default:
      return node
  }
}

export function addNode(spec: Spec, scope: Scope, node: RawNode, after: string | null = null): Spec {
  return withGraph(spec, scope, (nodes) => {
    const place = after === null ? nodes.length : nodes.findIndex((one) => nameOf(one) === after) + 1
    return [...nodes.slice(0, place), node, ...nodes.slice(place)]
  })
}

/** Nodes go, and edges from them. */
export function removeNodes(spec: Spec, scope: Scope, names: ReadonlySet<string>): Spec {
  return withGraph(spec, scope, (nodes) =>
    nodes.filter((node) => !names.has(nameOf(node))).map((node) => withEdges(node, edgesOf(node).filter((edge) => !names.has(edge.node)))),
  )
}

/** Give a node other fields; `undefined` removes one. */
export function changeNode(spec: Spec, scope: Scope, name: string, fields: Record<string, Json | undefined>): Spec {
  return withGraph(spec, scope, (nodes) => nodes.map((node) => (nameOf(node) === name ? withFields(node, fields) : node)))
}

export function withFields<T extends JsonMap>(map: T, fields: Record<string, Json | undefined>): T {
  const result: JsonMap = { ...map }
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) delete result[key]
    else result[key] = value
  }
  return result as T
}

const OWN_FIELDS: Record<string, readonly NodeType[]> = {
  taskRef: ['task'],
  config: ['http', 'script', 'agent', 'llm', 'mcp', 'database', 'email', 'webhook', 'operation'],
  delegate: ['subworkflow'],
  condition: ['branch', 'condition'],
  compare: ['branch', 'condition'],
  cases: ['branch'],
  defaultCase: ['branch'],
  count: ['loop'],
  while: ['loop'],
  until: ['loop'],
  maxIterations: ['loop'],
  items: ['map'],
  body: ['loop', 'map'],
  workflowRef: ['subworkflow'],
  params: ['subworkflow'],
  wait: ['wait'],
}
/** Fields that only some types have, as `plum_schemas.graph` says. */
export const FIELD_OWNERS: Readonly<Record<string, readonly NodeType[]>> = OWN_FIELDS

/** Another type: fields that it does not have go, those it needs come. Edges that named an outcome lose it if it is gone. */
export function changeType(spec: Spec, scope: Scope, name: string, type: NodeType): Spec {
  const changed = withGraph(spec, scope, (nodes) =>
    nodes.map((node) => {
      if (nameOf(node) !== name || typeOf(node) === type) return node
      const blank = blankNode(type, name)
      const kept = Object.entries(node).filter(([key]) => key !== 'type' && (!(key in OWN_FIELDS) || (OWN_FIELDS[key] as readonly NodeType[]).includes(type)))
      if (!['branch', 'parallel', 'loop', 'map', 'wait', 'condition'].includes(type)) return { ...blank, ...Object.fromEntries(kept) }
      return { ...blank, ...Object.fromEntries(kept.filter(([key]) => key !== 'retry' && (hasBody(type) || key !== 'variable'))) }
    }),
  )
  return withoutLostOutcomes(changed, scope, name)
}

/** Edges from a node that name an outcome it does not have any more, name none. */
export function withoutLostOutcomes(spec: Spec, scope: Scope, name: string): Spec {
  const nodes = graphAt(spec, scope)
  const owner = nodes.find((node) => nameOf(node) === name)
  const outcomes = new Set(owner ? outcomesOf(owner) : [])
  return withGraph(spec, scope, (all) =>
    all.map((node) =>
      edgesOf(node).some((edge) => edge.node === name && edge.on && !outcomes.has(edge.on))
        ? withEdges(node, edgesOf(node).map((edge) => (edge.node === name && !outcomes.has(edge.on) ? { ...edge, on: '' } : edge)))
        : node,
    ),
  )
}

/** An edge. From a branch it belongs to the given outcome. Nothing happens when it is there already. */
export function connect(spec: Spec, scope: Scope, from: string, to: string, on = ''): Spec {
  return withGraph(spec, scope, (nodes) =>
    nodes.map((node) => {
      if (nameOf(node) !== to || edgesOf(node).some((edge) => edge.node === from && edge.on === on)) return node
      return withEdges(node, [...edgesOf(node), { node: from, on }])
    }),
  )
}

export function disconnect(spec: Spec, scope: Scope, from: string, to: string, on = ''): Spec {
  return withGraph(spec, scope, (nodes) =>
    nodes.map((node) => (nameOf(node) === to ? withEdges(node, edgesOf(node).filter((edge) => edge.node !== from || edge.on !== on)) : node)),
  )
}

/** Let an edge belong to another outcome. */
export function setOutcome(spec: Spec, scope: Scope, from: string, to: string, on: string, next: string): Spec {
  return withGraph(spec, scope, (nodes) =>
    nodes.map((node) =>
      nameOf(node) === to ? withEdges(node, edgesOf(node).map((edge) => (edge.node === from && edge.on === on ? { node: from, on: next } : edge))) : node,
    ),
  )
}

/** An edge `from -> to` becomes `from -> node -> to`. */
export function insertBetween(spec: Spec, scope: Scope, node: RawNode, from: string, to: string, on: string): Spec {
  const name = nameOf(node)
  const added = addNode(spec, scope, withEdges(node, [{ node: from, on }]), from)
  return withGraph(added, scope, (nodes) =>
    nodes.map((one) =>
      nameOf(one) === to
        ? withEdges(one, edgesOf(one).map((edge) => (edge.node === from && edge.on === on ? { node: name, on: outcomesOf(node)[0] ?? '' } : edge)))
        : one,
    ),
  )
}

function withEdges(node: RawNode, edges: readonly Edge[]): RawNode {
  const before = edgesOf(node)
  if (before.length === edges.length && before.every((edge, index) => edge.node === edges[index]?.node && edge.on === edges[index]?.on)) return node
  return withFields(node, { dependsOn: writeEdges(edges) })
}

/** Another name for a node, in edges and in all expressions that can see it. */
export function renameNode(spec: Spec, scope: Scope, from: string, to: string): Spec {
  if (from === to) return spec
  const renamed = withGraph(spec, scope, (nodes) => nodes.map((node) => (nameOf(node) === from ? { ...node, name: to } : node)))
  const inside = withGraph(renamed, scope, (nodes) => nodes.map((node) => seen(node, from, to, true)))
  if (scope.bodies.length > 0 || scope.part !== 'main') return inside
  const result: Spec = { ...inside }
  if (isMap(inside.outputs)) result.outputs = renamedInValue(inside.outputs, from, to)
  for (const part of ['onFailure', 'finally'] as const) {
    const nodes = nodesOf(inside[part])
    if (nodes.length === 0 || nodes.some((node) => nameOf(node) === from)) continue
    const changed = nodes.map((node) => seen(node, from, to, false))
    if (changed.some((node, index) => node !== nodes[index])) result[part] = isMap(inside[part]) ? { ...inside[part], nodes: changed } : { nodes: changed }
  }
  return result
}

const CONDITIONS = ['when', 'condition', 'while', 'until'] as const

/** A node that can see a node which has another name now. */
function seen(node: RawNode, from: string, to: string, sameGraph: boolean): RawNode {
  let result = node
  const set = (key: string, value: Json): void => {
    if (value !== result[key]) result = { ...result, [key]: value }
  }
  if (sameGraph && edgesOf(node).some((edge) => edge.node === from))
    set('dependsOn', writeEdges(edgesOf(node).map((edge) => (edge.node === from ? { ...edge, node: to } : edge))) ?? [])
  for (const key of ['payload', 'config', 'params', 'items'] as const) if (node[key] !== undefined) set(key, renamedInValue(node[key] as Json, from, to))
  for (const key of CONDITIONS) {
    const text = node[key]
    if (typeof text === 'string') set(key, renamedCondition(text, from, to))
  }
  for (const key of ['compare', 'condition'] as const) {
    const compare = node[key]
    if (isMap(compare) && compare.sourceTask === from) set(key, { ...compare, sourceTask: to })
  }
  if (Array.isArray(node.cases) && node.cases.some((one) => isMap(one) && typeof one.condition === 'string' && renamedCondition(one.condition, from, to) !== one.condition))
    set('cases', node.cases.map((one) => (isMap(one) && typeof one.condition === 'string' ? { ...one, condition: renamedCondition(one.condition, from, to) } : one)))
  const wait = node.wait
  if (isMap(wait)) {
    let next: JsonMap = wait
    if (typeof wait.condition === 'string') next = change(next, 'condition', renamedCondition(wait.condition, from, to))
    if (typeof wait.until === 'string') next = change(next, 'until', renamedInValue(wait.until, from, to))
    set('wait', next)
  }
  const body = nodesOf(node.body)
  // A node of the body with the same name hides the one outside.
  if (body.length > 0 && !body.some((one) => nameOf(one) === from)) {
    const changed = body.map((one) => seen(one, from, to, false))
    if (changed.some((one, index) => one !== body[index])) set('body', Array.isArray(node.body) ? changed : { ...(node.body as JsonMap), nodes: changed })
  }
  return result
}

function change(map: JsonMap, key: string, value: Json): JsonMap {
  return map[key] === value ? map : { ...map, [key]: value }
}

function renamedCondition(text: string, from: string, to: string): string {
  const inner = bare(text)
  return text.replace(inner.text, () => renamedIn(inner.text, from, to))
}

/** Where nodes were put by hand. */
export function moveNodes(spec: Spec, scope: Scope, places: ReadonlyMap<string, { x: number; y: number }>): Spec {
  return withGraph(spec, scope, (nodes) =>
    nodes.map((node) => {
      const place = places.get(nameOf(node))
      return place ? { ...node, position: { x: Math.round(place.x), y: Math.round(place.y) } } : node
    }),
  )
}

/** Forget all places of a graph: the layout decides again. */
export function forgetPlaces(spec: Spec, scope: Scope): Spec {
  return withGraph(spec, scope, (nodes) => (nodes.some((node) => 'position' in node) ? nodes.map((node) => withFields(node, { position: undefined })) : nodes))
}

/** Insert copies of nodes: names that are taken change, in edges and expressions among the copies too. Edges to nodes that are
 * neither copied nor there are dropped. */
export function pasteNodes(spec: Spec, scope: Scope, copies: readonly RawNode[], shift = { x: 40, y: 40 }): { spec: Spec; names: string[] } {
  const there = graphAt(spec, scope)
  const taken = [...there]
  const names = new Map<string, string>()
  for (const copy of copies) {
    const name = freeName(taken, nameOf(copy) || 'node')
    names.set(nameOf(copy), name)
    taken.push({ name })
  }
  const known = new Set(there.map(nameOf))
  let made = copies.map((copy) => {
    const edges = edgesOf(copy).filter((edge) => names.has(edge.node) || known.has(edge.node))
    const position = isMap(copy.position) ? { x: Number(copy.position.x ?? 0) + shift.x, y: Number(copy.position.y ?? 0) + shift.y } : undefined
    return withFields(JSON.parse(JSON.stringify(copy)) as RawNode, { dependsOn: writeEdges(edges), position })
  })
  // Over names that nobody has, so that exchanging two names never meets in the middle.
  const passing = new Map([...names.keys()].map((name, index) => [name, `plum-pasted-${index}-`]))
  for (const [from, via] of passing) made = made.map((node) => seen({ ...node, name: nameOf(node) === from ? via : nameOf(node) }, from, via, true))
  for (const [from, to] of names) {
    const via = passing.get(from) as string
    made = made.map((node) => seen({ ...node, name: nameOf(node) === via ? to : nameOf(node) }, via, to, true))
  }
  return { spec: withGraph(spec, scope, (nodes) => [...nodes, ...made]), names: made.map(nameOf) }
}
