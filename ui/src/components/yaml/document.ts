/**
 * YAML text and places in it. Pure.
 *
 *     text --parse--> documents with ranges --> problems at a path --> line and column
 *     text, cursor --pathAtCursor--> where in the object somebody is typing
 */

import { isMap, isPair, isScalar, isSeq, LineCounter, parseAllDocuments, stringify, type Document, type Node } from 'yaml'
import type { KindSchema, Path, Schema } from './schema'

export interface Problem {
  message: string
  /** Offsets in the text. */
  from: number
  to: number
  path?: string
  severity: 'error' | 'warning'
}

/** What the page or the API found wrong at a field, as the API names it; `document` counts the manifests of the text from 0. */
export interface FieldProblem {
  field?: string
  message: string
  document?: number
}

/** An object as people write it: no bookkeeping, identity first, spec before status. */
export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false, blockQuote: 'literal' })
}

const BOOKKEEPING = ['managedFields', 'resourceVersion', 'uid', 'creationTimestamp', 'generation', 'selfLink']

/** What can be edited of an object: without status and what the API fills in. */
export function editable(object: object): Record<string, unknown> {
  const { apiVersion, kind, metadata, status: _status, ...rest } = object as Record<string, unknown>
  const kept = Object.fromEntries(Object.entries((metadata ?? {}) as Record<string, unknown>).filter(([name]) => !BOOKKEEPING.includes(name)))
  const { name, namespace, ...others } = kept
  return { apiVersion, kind, metadata: { name, ...(namespace ? { namespace } : {}), ...others }, ...rest }
}

/** What an object was, for reading: everything but managed fields. */
export function readable(object: object): Record<string, unknown> {
  const { apiVersion, kind, metadata, ...rest } = object as Record<string, unknown>
  const { managedFields: _managed, ...kept } = (metadata ?? {}) as Record<string, unknown>
  return { apiVersion, kind, metadata: kept, ...rest }
}

export interface Parsed {
  documents: Document.Parsed[]
  values: unknown[]
  problems: Problem[]
}

export function parseYaml(text: string): Parsed {
  const documents = parseAllDocuments(text, { lineCounter: new LineCounter(), uniqueKeys: true, prettyErrors: false })
  const list = Array.isArray(documents) ? (documents as Document.Parsed[]) : []
  const problems: Problem[] = []
  for (const document of list) {
    for (const error of document.errors) problems.push({ message: error.message, from: error.pos[0], to: Math.max(error.pos[1], error.pos[0] + 1), severity: 'error' })
    for (const warning of document.warnings) problems.push({ message: warning.message, from: warning.pos[0], to: warning.pos[1], severity: 'warning' })
  }
  const filled = list.filter((document) => document.contents !== null)
  return { documents: filled, values: problems.some((problem) => problem.severity === 'error') ? [] : filled.map((document) => document.toJS() as unknown), problems }
}

/** Offsets of the value at a path, of its key when there is no value, of the nearest parent when there is neither. */
export function rangeAt(document: Document.Parsed, path: Path): [number, number] {
  let node: Node | null | undefined = document.contents
  let range: [number, number] = [0, 1]
  if (node?.range) range = [node.range[0], Math.min(node.range[1], node.range[0] + 1)]
  for (const name of path) {
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(name))
      if (!pair) return range
      const key = pair.key as Node
      if (key.range) range = [key.range[0], key.range[1]]
      node = pair.value as Node | null
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(name)]
      if (!item) return range
      node = item as Node
      if (node.range) range = [node.range[0], node.range[1]]
    } else return range
  }
  if (isScalar(node) && node.range && node.range[1] > node.range[0]) return [node.range[0], node.range[1]]
  return range
}

/** `spec.ports[0].name` or `spec.template.env[name=A]` as the API writes fields. */
export function parseField(field: string): (string | number)[] {
  const path: (string | number)[] = []
  for (const match of field.matchAll(/\[(\d+)\]|\["?([^"\]]+)"?\]|([^.[\]]+)/g)) {
    if (match[1] !== undefined) path.push(Number(match[1]))
    else path.push((match[2] ?? match[3])!)
  }
  return path
}

const JS_TYPES: Record<string, (value: unknown) => boolean> = {
  string: (value) => typeof value === 'string',
  integer: (value) => typeof value === 'number' && Number.isInteger(value),
  number: (value) => typeof value === 'number',
  boolean: (value) => typeof value === 'boolean',
  object: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  array: (value) => Array.isArray(value),
}

export interface Finding {
  path: (string | number)[]
  code: 'unknown' | 'type' | 'enum' | 'required' | 'minimum' | 'maximum' | 'pattern' | 'length' | 'items'
  /** What was expected. */
  expected: string
  value?: unknown
}

/** What a schema refuses, as it can be known while typing. The API has the last word; this only tells earlier. */
export function check(schema: KindSchema, value: unknown, of: Schema | undefined = schema.root, path: (string | number)[] = []): Finding[] {
  const found = schema.resolve(of)
  if (!found || value === undefined) return []
  if (value === null) return []
  if (found['x-kubernetes-int-or-string']) return typeof value === 'string' || typeof value === 'number' ? [] : [{ path, code: 'type', expected: 'integer | string', value }]
  if (found.type && JS_TYPES[found.type] && !JS_TYPES[found.type]!(value)) return [{ path, code: 'type', expected: typeText(found), value }]
  const findings: Finding[] = []
  if (found.enum && !found.enum.includes(value)) findings.push({ path, code: 'enum', expected: found.enum.map(String).join(', '), value })
  if (typeof value === 'number') {
    if (found.minimum !== undefined && value < found.minimum) findings.push({ path, code: 'minimum', expected: String(found.minimum), value })
    if (found.maximum !== undefined && value > found.maximum) findings.push({ path, code: 'maximum', expected: String(found.maximum), value })
  }
  if (typeof value === 'string') {
    if (found.pattern && !matches(found.pattern, value)) findings.push({ path, code: 'pattern', expected: found.pattern, value })
    if ((found.minLength !== undefined && value.length < found.minLength) || (found.maxLength !== undefined && value.length > found.maxLength)) {
      findings.push({ path, code: 'length', expected: `${found.minLength ?? 0}–${found.maxLength ?? '∞'}`, value })
    }
  }
  if (Array.isArray(value)) {
    if ((found.minItems !== undefined && value.length < found.minItems) || (found.maxItems !== undefined && value.length > found.maxItems)) {
      findings.push({ path, code: 'items', expected: `${found.minItems ?? 0}–${found.maxItems ?? '∞'}`, value: value.length })
    }
    value.forEach((item, index) => findings.push(...check(schema, item, found.items, [...path, index])))
  } else if (typeof value === 'object') {
    const object = value as Record<string, unknown>
    for (const name of found.required ?? []) {
      if (object[name] === undefined && schema.resolve(found.properties?.[name])?.default === undefined) findings.push({ path: [...path, name], code: 'required', expected: name })
    }
    for (const [name, item] of Object.entries(object)) {
      const property = found.properties?.[name]
      if (property) findings.push(...check(schema, item, property, [...path, name]))
      else if (typeof found.additionalProperties === 'object') findings.push(...check(schema, item, found.additionalProperties, [...path, name]))
      else if (found.properties && found.additionalProperties !== true && !found['x-kubernetes-preserve-unknown-fields']) {
        findings.push({ path: [...path, name], code: 'unknown', expected: nearest(name, Object.keys(found.properties)) })
      }
    }
  }
  return findings
}

function typeText(schema: Schema): string {
  return schema.type ?? 'value'
}

const patterns = new Map<string, RegExp | null>()
function matches(pattern: string, value: string): boolean {
  let compiled = patterns.get(pattern)
  if (compiled === undefined) {
    try {
      compiled = new RegExp(pattern, 'u')
    } catch {
      compiled = null // a pattern of another dialect: the API checks it
    }
    patterns.set(pattern, compiled)
  }
  return compiled === null || compiled.test(value)
}

/** The name somebody may have meant; empty when none is near. */
export function nearest(name: string, names: readonly string[]): string {
  let best = ''
  let distance = Math.max(2, Math.floor(name.length / 3)) + 1
  for (const candidate of names) {
    const edits = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (edits < distance) [best, distance] = [candidate, edits]
  }
  return best
}

function editDistance(left: string, right: string): number {
  let row = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1))
    row = next
  }
  return row[right.length]!
}

/** Where somebody is typing: the path of the map around the cursor, and the key when the cursor is behind its colon. */
export interface Cursor {
  path: (string | number)[]
  /** Set when a value is being typed. */
  key?: string
  /** What is typed already, and where it begins. */
  word: string
  from: number
}

interface Line {
  indent: number
  key?: string
  item: boolean
}

function readLine(line: string): Line | undefined {
  const match = /^(\s*)((?:-\s+)*)(?:(["']?)([^\s"'#:][^"':#]*?)\3\s*:(?=\s|$))?/.exec(line)
  if (!match || !line.trim() || line.trim().startsWith('#')) return undefined
  const spaces = match[1]!.length
  const item = match[2]!.length > 0 || /^\s*-\s*$/.test(line)
  return { indent: spaces + match[2]!.length, key: match[4], item }
}

/**
 * By indentation, because what is being typed is seldom valid YAML yet. Block style, as people write it; in flow style (`{a: 1}`) there is no answer.
 */
export function pathAtCursor(text: string, offset: number): Cursor | undefined {
  const start = text.lastIndexOf('\n', offset - 1) + 1
  const line = text.slice(start, offset)
  if (/^\s*#/.test(line) || /[{[]/.test(line.replace(/"[^"]*"|'[^']*'/g, ''))) return undefined
  const match = /^(\s*)((?:-\s+)*)(?:([^\s"'#:-][^"':#]*?)\s*:\s+)?(\S*)$/.exec(line)
  if (!match) return undefined
  const [, spaces, dashes, key, word] = match as unknown as [string, string, string, string | undefined, string]
  const column = spaces.length + dashes.length
  const before = text.slice(0, start).split('\n')
  const path: (string | number)[] = []
  let indent = column
  let dashColumn = dashes.length ? spaces.length : -1
  if (dashes.length) path.unshift(countItems(before, spaces.length))
  for (let index = before.length - 1; index >= 0 && indent > 0; index--) {
    if (/^---/.test(before[index]!)) break
    const read = readLine(before[index]!)
    if (!read) continue
    const lead = /^\s*/.exec(before[index]!)![0].length
    if (dashColumn >= 0) {
      // Items may stand at the column of the key that they belong to, or further right; the key may be the first of an item itself.
      if (!read.key || read.indent > dashColumn) continue
      path.unshift(read.key)
      indent = read.indent
      dashColumn = -1
      if (read.item) {
        path.unshift(countItems(before.slice(0, index), lead))
        dashColumn = lead
        indent = lead + 1
      }
      continue
    }
    if (read.item && read.indent === indent) {
      // The first key of the item that the cursor's map is.
      path.unshift(countItems(before.slice(0, index), lead))
      dashColumn = lead
      indent = lead + 1
      continue
    }
    if (read.key && read.indent < indent) {
      path.unshift(read.key)
      indent = read.indent
      if (read.item) {
        path.unshift(countItems(before.slice(0, index), lead))
        dashColumn = lead
        indent = lead + 1
      }
    }
  }
  return { path, key: key?.trim(), word, from: offset - word.length }
}

/** How many items of the same list stand before. */
function countItems(before: readonly string[], column: number): number {
  let count = 0
  for (let index = before.length - 1; index >= 0; index--) {
    const line = before[index]!
    if (!line.trim() || line.trim().startsWith('#')) continue
    const lead = /^\s*/.exec(line)![0].length
    const dash = /^\s*-(\s|$)/.test(line)
    if (lead < column || (lead === column && !dash)) break
    if (lead === column) count += 1
  }
  return count
}
