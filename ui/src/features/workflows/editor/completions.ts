/**
 * What may be typed at a place of a workflow's YAML: keys from the schema, settings of a step, types and rules, names of nodes and of
 * objects that are there, and inside of `${{ ... }}` and conditions what expressions can read. Pure.
 *
 *     text, cursor --> expression? --> params. nodes. secrets. ...
 *                  --> value of a key? --> its words, or names of what is there
 *                  --> key of a map? --> what the schema has there
 */
import { pathAtCursor } from '@/components/yaml/document'
import { schemaAt, typeText, type KindSchema } from '@/components/yaml/schema'
import type { Json } from '@/components/yaml/json'
import { NODE_TYPES, TRIGGER_RULES, isMap } from '../model/definition'
import type { NodeType } from '../model/definition'
import { NODE_FIELDS } from './fields'

export interface Option {
  label: string
  /** What it is, in a word or a sentence. */
  detail?: string
  /** What is written, when it is more than the label. */
  apply?: string
}

export interface Known {
  /** Names by key: `taskRef`, `workflowRef`, `node`, `resource`, `nodeName`, `kind`, `secret`, ... */
  names: Readonly<Record<string, readonly string[]>>
  params: readonly string[]
  variables: readonly string[]
  /** Keys of Secrets by name. */
  secrets: Readonly<Record<string, readonly string[]>>
  /** Operations of devices by the name of the Resource. */
  methods: Readonly<Record<string, readonly string[]>>
  /** The last value that could be read. */
  object: Json
  schema?: KindSchema
}

export const NOTHING_KNOWN: Known = { names: {}, params: [], variables: [], secrets: {}, methods: {}, object: {} }

export const NODE_FACTS = ['output', 'phase', 'outcome', 'error'] as const
export const RUN_FACTS = ['id', 'name', 'namespace', 'workflow', 'triggeredBy', 'scheduledFor', 'depth', 'phase', 'failedNode', 'error'] as const
const ROOTS = ['params', 'nodes', 'variables', 'run', 'secrets', 'loop', 'item'] as const
/** Keys whose value is an expression without braces. */
const CONDITIONS = new Set(['when', 'condition', 'while', 'until', 'expression'])

const NODE_KEYS = [
  'name', 'type', 'displayName', 'description', 'dependsOn', 'triggerRule', 'when', 'taskRef', 'payload', 'config', 'condition', 'compare', 'cases', 'defaultCase', 'count',
  'while', 'until', 'maxIterations', 'variable', 'items', 'maxParallel', 'maxFailures', 'body', 'waitPolicy', 'workflowRef', 'params', 'delegate', 'wait', 'timeout', 'retry',
  'continueOnFailure', 'priority', 'concurrency', 'execution', 'nodeName', 'nodeSelector',
]
const SPEC_KEYS = [
  'state', 'description', 'version', 'owner', 'tags', 'template', 'archived', 'params', 'variables', 'concurrencyPolicy', 'maxConcurrent', 'maxParallel', 'priority', 'timeout', 'nodes',
  'outputs', 'onFailure', 'finally', 'reservations', 'hooks', 'keepRuns',
]
const VALUES: Readonly<Record<string, readonly string[]>> = {
  triggerRule: TRIGGER_RULES, state: ['Draft', 'Active', 'Paused'], concurrencyPolicy: ['Allow', 'Queue', 'Forbid', 'Replace'],
  waitPolicy: ['all', 'any'], continueOnFailure: ['true', 'false'], execution: ['AtLeastOnce', 'AtMostOnce'], delivery: ['AtMostOnce', 'AtLeastOnce'], onLimit: ['Queue', 'Reject', 'Replace'],
}

export interface Completions {
  from: number
  options: Option[]
}

export function completionsAt(text: string, at: number, known: Known): Completions | null {
  const start = text.lastIndexOf('\n', at - 1) + 1
  const line = text.slice(start, at)
  return expressionAt(line, at, known) ?? valueAt(text, line, at, known) ?? keyAt(text, line, at, known)
}

// ---- expressions

/** The part of the line that is an expression, up to the cursor. */
function expressionIn(line: string): string | undefined {
  const open = line.lastIndexOf('{{')
  if (open >= 0 && line.indexOf('}}', open) < 0) return line.slice(open + 2)
  const condition = /(?:^|[\s{,])([A-Za-z]+):\s+["']?([^"']*)$/.exec(line)
  return condition && CONDITIONS.has(condition[1]!) ? condition[2] : undefined
}

function expressionAt(line: string, at: number, known: Known): Completions | null {
  const expression = expressionIn(line)
  if (expression === undefined) return null
  const path = /(?:^|[^\w.'"\]])([A-Za-z_][\w-]*(?:\.[\w-]*)*)?$/.exec(expression)?.[1] ?? ''
  const steps = path.split('.')
  const word = steps.pop() ?? ''
  return { from: at - word.length, options: readable(steps, known).map((label) => ({ label, ...(steps.length === 0 ? { apply: label === 'item' ? label : `${label}.` } : {}) })) }
}

/** What may follow the steps of a path in an expression. */
export function readable(steps: readonly string[], known: Known): string[] {
  const [root, name, fact] = steps
  if (root === undefined) return [...ROOTS]
  if (steps.length === 1) {
    const byRoot: Record<string, readonly string[]> = {
      params: known.params, input: known.params, variables: known.variables, nodes: known.names.node ?? [], run: RUN_FACTS, secrets: Object.keys(known.secrets), loop: ['index', 'item', 'i', ...loopVariables(known.object)],
    }
    return [...new Set(byRoot[root] ?? [])]
  }
  if (root === 'nodes' && steps.length === 2) return [...NODE_FACTS]
  if (root === 'secrets' && steps.length === 2) return [...(known.secrets[name!] ?? [])]
  if (root === 'nodes' && fact === 'output' && steps.length === 3) return outputsOf(known.object, name!)
  return []
}

/** Names of the variables of loops and maps, wherever they are. */
function loopVariables(value: Json): string[] {
  if (Array.isArray(value)) return value.flatMap(loopVariables)
  if (!isMap(value)) return []
  const own = typeof value.variable === 'string' ? [value.variable] : []
  return [...own, ...Object.values(value).flatMap(loopVariables)]
}

/** What is read elsewhere of the output of a node: the fields that somebody knows of. */
function outputsOf(value: Json, node: string): string[] {
  const escaped = node.replace(/[^\w-]/g, '')
  const found = JSON.stringify(value ?? null).matchAll(new RegExp(`nodes\\.${escaped}\\.output\\.([A-Za-z_]\\w*)`, 'g'))
  return [...new Set([...found].map((match) => match[1]!))].sort()
}

// ---- values

function valueAt(text: string, line: string, at: number, known: Known): Completions | null {
  const word = /[\w.-]*$/.exec(line)?.[0] ?? ''
  const head = line.slice(0, line.length - word.length)
  const key = /(?:^|[\s{,-])([A-Za-z]+):\s*\[?(?:[\w.-]+,\s*)*["']?$/.exec(head)?.[1]
  const listed = key ? undefined : /^\s*-\s+["']?$/.test(head) ? listAround(text, at) : undefined
  const of = key ?? listed
  if (!of) return null
  const options = valuesOf(of, text, at, known)
  return options ? { from: at - word.length, options: options.map((label) => ({ label })) } : null
}

/** The key of the list whose item is being typed, where items are names. */
function listAround(text: string, at: number): string | undefined {
  const cursor = pathAtCursor(text, at)
  const key = cursor?.path.at(-2)
  return key === 'dependsOn' ? 'dependsOn' : undefined
}

function valuesOf(key: string, text: string, at: number, known: Known): readonly string[] | undefined {
  if (key === 'type') return nodeAround(text, at, known) === undefined && inParams(text, at) ? ['string', 'integer', 'number', 'boolean', 'object', 'array'] : NODE_TYPES
  if (key === 'dependsOn' || key === 'sourceTask') return known.names.node
  if (key === 'method') {
    const resource = nodeAround(text, at, known)?.config
    const name = isMap(resource) && typeof resource.resource === 'string' ? resource.resource : ''
    return known.methods[name] ?? ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
  }
  return VALUES[key] ?? known.names[key] ?? enumAt(text, at, key, known)
}

function inParams(text: string, at: number): boolean {
  return pathAtCursor(text, at)?.path[1] === 'params'
}

function enumAt(text: string, at: number, key: string, known: Known): string[] | undefined {
  const cursor = pathAtCursor(text, at)
  const found = cursor && known.schema && schemaAt(known.schema, [...cursor.path, key])
  return found?.enum?.map(String) ?? (found?.type === 'boolean' ? ['true', 'false'] : undefined)
}

/** The node that the cursor stands in, as it was read last. */
function nodeAround(text: string, at: number, known: Known): { [key: string]: Json } | undefined {
  const path = pathAtCursor(text, at)?.path
  if (!path) return undefined
  const index = path.lastIndexOf('nodes')
  if (index < 0 || typeof path[index + 1] !== 'number') return undefined
  const found = path.slice(0, index + 2).reduce<Json | undefined>((value, step) => (Array.isArray(value) ? value[Number(step)] : isMap(value) ? value[step] : undefined), known.object)
  return isMap(found) ? found : undefined
}

// ---- keys

function keyAt(text: string, line: string, at: number, known: Known): Completions | null {
  const word = /[\w.-]*$/.exec(line)?.[0] ?? ''
  const head = line.slice(0, line.length - word.length)
  const from = at - word.length
  const plain = (labels: readonly string[]): Completions => ({ from, options: labels.map((label) => ({ label, apply: `${label}: ` })) })
  if (/-\s*\{(?:[^{}]*,)?\s*$/.test(head)) return plain(NODE_KEYS)
  if (!/^\s*(-\s+)*$/.test(head)) return null
  const path = pathAtCursor(text, at)?.path
  if (!path) return null
  const last = path.at(-1)
  if (last === 'config' && typeof path.at(-2) === 'number') {
    const type = (nodeAround(text, at, known)?.type ?? 'task') as NodeType
    return plain((NODE_FIELDS[type] ?? []).filter((field) => field.path.startsWith('config.')).map((field) => field.path.slice('config.'.length)))
  }
  const schema = known.schema && schemaAt(known.schema, path)
  if (known.schema && schema?.properties) {
    const required = new Set(schema.required ?? [])
    const options = Object.entries(schema.properties).filter(([name]) => !(path.length === 0 && name === 'status') && name !== 'position')
    return { from, options: options.map(([name, of]) => ({ label: name, apply: `${name}: `, detail: `${typeText(known.schema!, of).slice(0, 30)}${required.has(name) ? ' *' : ''}` })) }
  }
  if (typeof last === 'number' && path.at(-2) === 'nodes') return plain(NODE_KEYS)
  if (path.length === 0) return plain(['apiVersion', 'kind', 'metadata', 'spec'])
  return path.length === 1 && last === 'spec' ? plain(SPEC_KEYS) : null
}
