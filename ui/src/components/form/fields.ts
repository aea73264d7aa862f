/** What a form shows for a schema: one field for each property, with the widget that its type, its name and its place ask for. Pure. */
import type { KindRef } from '@/api/kinds'
import type { KindSchema, Schema } from '@/components/yaml/schema'
import { referenceOf, type Reference } from './references'

export type Widget = 'text' | 'lines' | 'bytes' | 'integer' | 'number' | 'boolean' | 'enum' | 'reference' | 'duration' | 'intOrString' | 'list' | 'map' | 'object' | 'any'

export interface Field {
  name: string
  /** Resolved. */
  schema: Schema
  widget: Widget
  required: boolean
  /** What the API takes when nothing is given, as a text; empty when there is nothing. */
  preset: string
  options: string[]
  reference?: Reference
}

const DURATION = /^\^\(0\|\(\[0-9\]\+/
/** Texts that people write in several lines. */
const LINES = new Set(['description', 'script', 'code', 'message', 'text', 'content', 'contents', 'prompt', 'system', 'body', 'query', 'definition'])

export function widgetOf(schema: KindSchema, found: Schema, name: string): Widget {
  if (found['x-kubernetes-int-or-string'] || found.anyOf?.length === 2) return 'intOrString'
  if (found.enum) return 'enum'
  if (found.type === 'boolean' || found.type === 'integer' || found.type === 'number') return found.type
  if (found.type === 'array') return found.items ? 'list' : 'any'
  if (found.type === 'string') {
    if (found.format === 'byte') return 'bytes'
    if (found.pattern && DURATION.test(found.pattern)) return 'duration'
    return LINES.has(name) && !found.maxLength ? 'lines' : 'text'
  }
  if (found.properties && Object.keys(found.properties).length > 0) return 'object'
  if (typeof found.additionalProperties === 'object' && schema.resolve(found.additionalProperties)) return 'map'
  return 'any'
}

/** The field of one value. `path` has no numbers: `spec.ports.name`; `beside` are the values that stand in the same map. */
export function fieldOf(schema: KindSchema, of: Schema | undefined, name: string, path: readonly string[], kind: KindRef, required = false, beside: Record<string, unknown> = {}): Field {
  const found = schema.resolve(of) ?? {}
  const widget = widgetOf(schema, found, name)
  const reference = widget === 'text' || widget === 'any' ? referenceOf(kind, path, beside) : undefined
  const preset = found.default === undefined || (typeof found.default === 'object' && found.default !== null) ? '' : String(found.default)
  return { name, schema: found, widget: reference && found.type === 'string' ? 'reference' : widget, required, preset, options: (found.enum ?? []).map(String), reference }
}

/** Fields of an object: what must be given first, then in the order of the schema. */
export function fieldsOf(schema: KindSchema, of: Schema | undefined, path: readonly string[], kind: KindRef, beside: Record<string, unknown> = {}): Field[] {
  const found = schema.resolve(of)
  const required = new Set(found?.required ?? [])
  const all = Object.entries(found?.properties ?? {}).map(([name, property]) => fieldOf(schema, property, name, [...path, name], kind, required.has(name), beside))
  return [...all.filter((field) => field.required), ...all.filter((field) => !field.required)]
}

/** What of an object's metadata people write. */
const WRITTEN = ['name', 'namespace', 'labels', 'annotations']
export function metadataFields(schema: KindSchema, kind: KindRef): Field[] {
  const metadata = schema.resolve(schema.resolve(schema.root)?.properties?.metadata)
  const given = { name: { type: 'string' }, namespace: { type: 'string' }, labels: MAP, annotations: MAP, ...metadata?.properties } as Record<string, Schema>
  return WRITTEN.filter((name) => name !== 'namespace' || kind.namespaced).map((name) => fieldOf(schema, given[name], name, ['metadata', name], kind, name === 'name'))
}
const MAP: Schema = { type: 'object', additionalProperties: { type: 'string' } }

/** Everything of a kind that is neither its identity nor its status. A `spec` that holds all is shown as its fields. */
export function bodyFields(schema: KindSchema, kind: KindRef, beside: Record<string, unknown> = {}): { path: string[]; fields: Field[] } {
  const root = schema.resolve(schema.root)
  const names = Object.keys(root?.properties ?? {}).filter((name) => !['apiVersion', 'kind', 'metadata', 'status'].includes(name))
  if (names.length === 1 && names[0] === 'spec' && schema.resolve(root?.properties?.spec)?.properties) {
    return { path: ['spec'], fields: fieldsOf(schema, root?.properties?.spec, ['spec'], kind, beside) }
  }
  const required = new Set(root?.required ?? [])
  return { path: [], fields: names.map((name) => fieldOf(schema, root?.properties?.[name], name, [name], kind, required.has(name), beside)) }
}

/** What names an item of a list in its heading. */
export function titleOf(item: unknown): string {
  if (typeof item !== 'object' || item === null) return ''
  const found = item as Record<string, unknown>
  for (const key of ['name', 'key', 'type', 'node', 'path', 'kind', 'target', 'port', 'user']) {
    const value = found[key]
    if (typeof value === 'string' || typeof value === 'number') return String(value)
  }
  return ''
}
