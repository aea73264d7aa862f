/**
 * What is wrong with a definition, told while somebody types: the rules of the graph and of the fields, and names in expressions.
 *
 *     spec --checkDefinition--> [{field: "spec.nodes[2].dependsOn[0].node", code, params}]
 *
 * The server judges again with every write, expressions included; this is the part that needs no server. Words for `code` are in
 * the locales, `params` fill them in.
 */
import { BUILTINS } from '@/components/form/references'
import type { Json } from '@/components/yaml/json'
import { FIELD_OWNERS } from './commands'
import { TRIGGER_RULES, NODE_TYPES, afterBranches, edgesOf, isMap, nameOf, nodesOf, outcomesOf, ruleOf, typeOf, whatComesBefore } from './definition'
import type { RawNode } from './definition'
import { bare, expressionsIn, nodesIn, unbalanced } from './references'

export interface Problem {
  /** Place as the server names it. */
  field: string
  code: ProblemCode
  params: Record<string, string>
}
export const PROBLEM_CODES = [
  'nameMissing', 'nameShape', 'nameTwice', 'typeUnknown', 'ruleUnknown', 'edgeUnknown', 'edgeTwice', 'edgeOutcome', 'edgeNoOutcomes',
  'cycle', 'fieldNotOfType', 'taskRefMissing', 'workflowRefMissing', 'conditionOne', 'loopOne', 'itemsMissing', 'itemsShape', 'waitMissing',
  'waitOne', 'bodyMissing', 'nodeUnknown', 'nodeNotBefore', 'nodeItself', 'notClosed', 'unbalanced', 'duration', 'paramName', 'paramTwice',
  'paramDefault', 'neverRuns', 'retryNotHere', 'empty', 'number', 'builtinUnknown', 'caseName', 'eventNothing', 'resourceMissing', 'methodMissing', 'delegateOne',
] as const
export type ProblemCode = (typeof PROBLEM_CODES)[number]

const NODE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]{0,62}$/
const PARAM_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,62}$/
const DURATION = /^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+$/
const NOT_TRIED_AGAIN = ['branch', 'condition', 'parallel', 'loop', 'map', 'wait']
export { BUILTINS }

export function isDuration(text: unknown): boolean {
  return typeof text === 'string' && DURATION.test(text)
}

/** Whether a value has the type that a parameter asks for. True and false are no numbers; 4.5 is no integer. */
export function hasType(value: Json, type: string): boolean {
  switch (type) {
    case 'string': return typeof value === 'string'
    case 'integer': return typeof value === 'number' && Number.isInteger(value)
    case 'number': return typeof value === 'number'
    case 'boolean': return typeof value === 'boolean'
    case 'array': return Array.isArray(value)
    case 'object': return isMap(value)
    default: return false
  }
}

type Report = (field: string, code: ProblemCode, params?: Record<string, string>) => void

/** All problems. A draft may lack what is required, but have nothing wrong. */
export function checkDefinition(spec: Json, path = 'spec'): Problem[] {
  const found: Problem[] = []
  const report: Report = (field, code, params = {}) => found.push({ field, code, params })
  if (!isMap(spec)) return found
  const complete = spec.state !== 'Draft'
  const main = nodesOf(spec.nodes)
  const names = new Set(main.map(nameOf))
  if (complete && main.length === 0) report(`${path}.nodes`, 'empty')
  checkGraph(main, `${path}.nodes`, { known: new Set(), visible: () => false, complete, report, depth: 0 })
  for (const part of ['onFailure', 'finally'] as const)
    checkGraph(nodesOf(spec[part]), `${path}.${part}.nodes`, { known: names, visible: (name) => names.has(name), complete, report, depth: 0 })
  checkParams(spec.params ?? null, `${path}.params`, report)
  if (isMap(spec.outputs))
    for (const [key, value] of Object.entries(spec.outputs))
      checkValue(value, `${path}.outputs.${key}`, { known: names, visible: (name) => names.has(name), own: '', report })
  if (spec.timeout !== undefined && spec.timeout !== null && !isDuration(spec.timeout)) report(`${path}.timeout`, 'duration', { value: shown(spec.timeout) })
  return found
}

function checkParams(params: Json, path: string, report: Report): void {
  if (!Array.isArray(params)) return
  const seen = new Set<string>()
  params.forEach((param, index) => {
    if (!isMap(param)) return
    const name = String(param.name ?? '')
    if (!PARAM_NAME.test(name)) report(`${path}[${index}].name`, 'paramName', { value: name })
    if (seen.has(name)) report(`${path}[${index}].name`, 'paramTwice', { value: name })
    seen.add(name)
    const type = String(param.type ?? 'string')
    if (param.default !== undefined && param.default !== null && !hasType(param.default, type))
      report(`${path}[${index}].default`, 'paramDefault', { value: shown(param.default), type })
  })
}

interface Around {
  known: ReadonlySet<string>
  visible: (name: string) => boolean
  complete: boolean
  report: Report
  depth: number
}

function checkGraph(nodes: readonly RawNode[], path: string, around: Around): void {
  const { report } = around
  const byName = new Map<string, RawNode>()
  nodes.forEach((node, index) => {
    const name = nameOf(node)
    if (!name) report(`${path}[${index}].name`, 'nameMissing')
    else if (!NODE_NAME.test(name)) report(`${path}[${index}].name`, 'nameShape', { value: name })
    if (name && byName.has(name)) report(`${path}[${index}].name`, 'nameTwice', { value: name })
    byName.set(name, node)
  })
  const known = new Set([...around.known, ...byName.keys()])
  const after = afterBranches(nodes)
  const comesBefore = whatComesBefore(nodes)
  nodes.forEach((node, index) => {
    const where = `${path}[${index}]`
    const own = nameOf(node)
    const visible = (name: string): boolean => (byName.has(name) ? name !== own && comesBefore(name, own) : around.visible(name))
    checkFields(node, where, around)
    checkEdges(node, byName, where, report)
    checkReach(node, where, after, report)
    checkExpressions(node, where, { known, visible, own, report })
    const body = nodesOf(node.body)
    if (body.length > 0 && around.depth < 16) checkGraph(body, `${where}.body.nodes`, { ...around, known, visible, depth: around.depth + 1 })
  })
  const cycle = findCycle(nodes)
  if (cycle.length > 0) report(path, 'cycle', { value: cycle.join(' → ') })
}

/** One cycle as names from a node back to itself, or nothing. */
export function findCycle(nodes: readonly RawNode[]): string[] {
  const edges = new Map(nodes.map((node) => [nameOf(node), edgesOf(node).map((edge) => edge.node)]))
  const done = new Set<string>()
  for (const start of edges.keys()) {
    if (done.has(start)) continue
    const trail = [start]
    const at = new Map([[start, 0]])
    while (trail.length > 0) {
      const name = trail[trail.length - 1] as string
      const step = at.get(name) as number
      const next = edges.get(name)?.[step]
      at.set(name, step + 1)
      if (next === undefined) {
        done.add(name)
        at.delete(name)
        trail.pop()
      } else if (at.has(next)) return [...trail.slice(trail.indexOf(next)), next].reverse()
      else if (edges.has(next) && !done.has(next)) {
        trail.push(next)
        at.set(next, 0)
      }
    }
  }
  return []
}

function checkEdges(node: RawNode, byName: ReadonlyMap<string, RawNode>, path: string, report: Report): void {
  const seen = new Set<string>()
  edgesOf(node).forEach((edge, index) => {
    const where = `${path}.dependsOn[${index}]`
    const source = byName.get(edge.node)
    if (!source) {
      report(`${where}.node`, 'edgeUnknown', { value: edge.node })
      return
    }
    const key = `${edge.node} ${edge.on}`
    if (seen.has(key)) report(where, 'edgeTwice', { value: edge.node })
    seen.add(key)
    if (!edge.on) return
    const outcomes = outcomesOf(source)
    if (outcomes.length === 0) report(`${where}.on`, 'edgeNoOutcomes', { value: edge.node, type: typeOf(source) })
    else if (!outcomes.includes(edge.on)) report(`${where}.on`, 'edgeOutcome', { value: edge.on, node: edge.node, outcomes: outcomes.join(', ') })
  })
}

/** A node that waits for two outcomes of one branch, and needs both, never runs. */
function checkReach(node: RawNode, path: string, after: Set<string>, report: Report): void {
  const rule = ruleOf(node, after)
  if (rule !== 'all_success' && rule !== 'none_skipped') return
  const outcomes = new Map<string, string>()
  for (const edge of edgesOf(node)) {
    if (!edge.on) continue
    const first = outcomes.get(edge.node)
    if (first !== undefined && first !== edge.on) report(`${path}.dependsOn`, 'neverRuns', { node: edge.node, first, second: edge.on, rule })
    outcomes.set(edge.node, first ?? edge.on)
  }
}

function given(value: Json | undefined): boolean {
  if (value === undefined || value === null || value === '') return false
  return typeof value !== 'object' || Object.keys(value).length > 0
}

function checkFields(node: RawNode, path: string, { complete, report }: Around): void {
  if (node.type !== undefined && !(NODE_TYPES as readonly unknown[]).includes(node.type)) report(`${path}.type`, 'typeUnknown', { value: shown(node.type) })
  if (node.triggerRule !== undefined && node.triggerRule !== null && !(TRIGGER_RULES as readonly unknown[]).includes(node.triggerRule))
    report(`${path}.triggerRule`, 'ruleUnknown', { value: shown(node.triggerRule) })
  const type = typeOf(node)
  for (const [field, owners] of Object.entries(FIELD_OWNERS))
    if (given(node[field]) && !owners.includes(type)) report(`${path}.${field}`, 'fieldNotOfType', { value: type, types: owners.join(', ') })
  if (node.timeout !== undefined && node.timeout !== null && !isDuration(node.timeout)) report(`${path}.timeout`, 'duration', { value: shown(node.timeout) })
  for (const field of ['count', 'maxIterations', 'maxParallel'] as const) {
    const value = node[field]
    if (value !== undefined && value !== null && !(typeof value === 'number' && Number.isInteger(value) && value >= (field === 'count' ? 0 : 1)))
      report(`${path}.${field}`, 'number', { value: shown(value), least: field === 'count' ? '0' : '1' })
  }
  if (NOT_TRIED_AGAIN.includes(type) && given(node.retry)) report(`${path}.retry`, 'retryNotHere', { value: type })
  const ref = node.taskRef
  if (type === 'task' && typeof ref === 'string' && ref.startsWith('builtin.') && !(BUILTINS as readonly string[]).includes(ref))
    report(`${path}.taskRef`, 'builtinUnknown', { value: ref, known: BUILTINS.join(', ') })
  if (Array.isArray(node.cases))
    node.cases.forEach((one, index) => {
      if (!isMap(one) || !given(one.name) || !given(one.condition)) report(`${path}.cases[${index}]`, 'caseName')
    })
  if (complete) checkComplete(node, path, report)
}

function checkComplete(node: RawNode, path: string, report: Report): void {
  const type = typeOf(node)
  const count = (...fields: (Json | undefined)[]): number => fields.filter((value) => value !== undefined && value !== null && value !== '' && !(Array.isArray(value) && value.length === 0)).length
  if (type === 'task' && !given(node.taskRef)) report(`${path}.taskRef`, 'taskRefMissing')
  if (type === 'subworkflow' && !given(node.workflowRef)) report(`${path}.workflowRef`, 'workflowRefMissing')
  if ((type === 'branch' || type === 'condition') && count(node.condition, node.compare, node.cases) !== 1) report(path, 'conditionOne')
  if (type === 'loop' && count(node.count, node.while, node.until) !== 1) report(path, 'loopOne')
  if (type === 'map') {
    if (node.items === undefined || node.items === null) report(`${path}.items`, 'itemsMissing')
    else if (!Array.isArray(node.items) && typeof node.items !== 'string') report(`${path}.items`, 'itemsShape')
  }
  if (type === 'operation') {
    const config = isMap(node.config) ? node.config : {}
    if (!given(config.resource)) report(`${path}.config.resource`, 'resourceMissing')
    if (!given(config.method)) report(`${path}.config.method`, 'methodMissing')
  }
  if (isMap(node.delegate) && [node.delegate.nodeName, node.delegate.nodeSelector].filter(given).length !== 1) report(`${path}.delegate`, 'delegateOne')
  if (type === 'wait') checkWait(node, path, report, count)
  if ((type === 'loop' || type === 'map') && nodesOf(node.body).length === 0) report(`${path}.body`, 'bodyMissing')
}

function checkWait(node: RawNode, path: string, report: Report, count: (...fields: (Json | undefined)[]) => number): void {
  const wait = node.wait
  if (!isMap(wait)) {
    report(`${path}.wait`, 'waitMissing')
    return
  }
  if (count(wait.duration, wait.until, wait.event, wait.condition, wait.approval) !== 1) report(`${path}.wait`, 'waitOne')
  if (wait.duration !== undefined && wait.duration !== null && !isDuration(wait.duration)) report(`${path}.wait.duration`, 'duration', { value: shown(wait.duration) })
  if (isMap(wait.event) && !given(wait.event.kind) && !given(wait.event.type)) report(`${path}.wait.event`, 'eventNothing')
}

interface Sight {
  known: ReadonlySet<string>
  visible: (name: string) => boolean
  own: string
  report: Report
}

function checkExpressions(node: RawNode, path: string, sight: Sight): void {
  for (const key of ['payload', 'config', 'params'] as const) if (isMap(node[key])) checkValue(node[key] as Json, `${path}.${key}`, sight)
  if (node.items !== undefined) checkValue(node.items as Json, `${path}.items`, sight)
  const inside = new Set(nodesOf(node.body).map(nameOf))
  // Few nodes have a body; a copy of all names for each of thousands takes longer than everything else here.
  const looping: Sight = inside.size === 0 ? sight : { ...sight, known: new Set([...sight.known, ...inside]), visible: (name) => inside.has(name) || sight.visible(name) }
  for (const [key, own] of [['when', sight], ['condition', sight], ['while', looping], ['until', looping]] as const)
    if (typeof node[key] === 'string') checkCondition(node[key] as string, `${path}.${key}`, own)
  if (Array.isArray(node.cases))
    node.cases.forEach((one, index) => {
      if (isMap(one) && typeof one.condition === 'string') checkCondition(one.condition, `${path}.cases[${index}].condition`, sight)
    })
  if (isMap(node.wait)) {
    if (typeof node.wait.condition === 'string') checkCondition(node.wait.condition, `${path}.wait.condition`, sight)
    if (typeof node.wait.until === 'string') checkValue(node.wait.until, `${path}.wait.until`, sight)
  }
  for (const key of ['compare', 'condition'] as const) {
    const compare = node[key]
    if (isMap(compare) && typeof compare.sourceTask === 'string' && compare.sourceTask) checkName(compare.sourceTask, `${path}.compare.sourceTask`, sight)
  }
}

function checkCondition(text: string, path: string, sight: Sight): void {
  if (!text.trim()) return
  const inner = bare(text).text
  const wrong = unbalanced(inner)
  if (wrong) sight.report(path, 'unbalanced', { value: wrong })
  for (const name of new Set(nodesIn(inner, sight.known))) checkName(name, path, sight)
}

function checkValue(value: Json, path: string, sight: Sight): void {
  const pending: [Json, string][] = [[value, path]]
  while (pending.length > 0) {
    const [current, where] = pending.pop() as [Json, string]
    if (typeof current === 'string') {
      for (const found of expressionsIn(current)) {
        if (!found.closed) sight.report(where, 'notClosed')
        else checkCondition(current.slice(found.from, found.to), where, sight)
      }
    } else if (Array.isArray(current)) current.forEach((item, index) => pending.push([item, `${where}[${index}]`]))
    else if (isMap(current)) for (const [key, item] of Object.entries(current)) pending.push([item, `${where}.${key}`])
  }
}

function checkName(name: string, path: string, { known, visible, own, report }: Sight): void {
  if (!known.has(name)) report(path, 'nodeUnknown', { value: name })
  else if (name === own) report(path, 'nodeItself', { value: name })
  else if (!visible(name)) report(path, 'nodeNotBefore', { value: name, node: own })
}

function shown(value: Json | undefined): string {
  return typeof value === 'string' ? value : JSON.stringify(value ?? null)
}
