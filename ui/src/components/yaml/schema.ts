/**
 * Schemas of kinds, from the API's own OpenAPI documents: what completion, checks, forms and descriptions are made of.
 * One document per group and version, read once per page load; kinds that users define are in theirs like the built-in ones.
 */

import { api } from '@/api/client'

export interface Schema {
  type?: string
  description?: string
  properties?: Record<string, Schema>
  additionalProperties?: Schema | boolean
  items?: Schema
  required?: string[]
  enum?: unknown[]
  default?: unknown
  format?: string
  pattern?: string
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  minItems?: number
  maxItems?: number
  nullable?: boolean
  allOf?: Schema[]
  oneOf?: Schema[]
  anyOf?: Schema[]
  $ref?: string
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[]
  'x-kubernetes-preserve-unknown-fields'?: boolean
  'x-kubernetes-int-or-string'?: boolean
}

interface Document {
  components: { schemas: Record<string, Schema> }
}

/** The schema of a kind, with what it refers to. */
export interface KindSchema {
  root: Schema
  resolve: (schema: Schema | undefined) => Schema | undefined
}

const documents = new Map<string, Promise<Document>>()

async function documentOf(apiVersion: string): Promise<Document> {
  const path = apiVersion.includes('/') ? `apis/${apiVersion}` : `api/${apiVersion}`
  // The root names the current hash of each document, so that a kind defined a moment ago is known, and the rest comes from the browser's cache.
  const root = await api.get<{ paths: Record<string, { serverRelativeURL: string }> }>('/openapi/v3')
  const url = root.paths[path]?.serverRelativeURL
  if (!url) throw new Error(`the API has no schemas of ${apiVersion}`)
  let found = documents.get(url)
  if (!found) {
    found = api.get<Document>(url)
    documents.set(url, found)
    found.catch(() => documents.delete(url))
  }
  return found
}

/** Undefined when the API has no such kind. */
export async function loadSchema(apiVersion: string, kind: string): Promise<KindSchema | undefined> {
  const document = await documentOf(apiVersion)
  const [group, version] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion]
  const root = Object.values(document.components.schemas).find((schema) =>
    schema['x-kubernetes-group-version-kind']?.some((each) => each.group === group && each.version === version && each.kind === kind),
  )
  return root && { root, resolve: resolver(document.components.schemas) }
}

/** Follows `$ref` and merges `allOf`. Pure but for its memory. */
export function resolver(schemas: Record<string, Schema>): KindSchema['resolve'] {
  const known = new WeakMap<Schema, Schema>()
  const resolve = (schema: Schema | undefined): Schema | undefined => {
    if (!schema) return undefined
    const before = known.get(schema)
    if (before) return before
    let result = schema
    if (schema.$ref) {
      const { $ref, ...rest } = schema
      result = { ...resolve(schemas[$ref.replace('#/components/schemas/', '')]), ...rest }
    } else if (schema.allOf?.length) {
      const { allOf, ...rest } = schema
      result = Object.assign({}, ...allOf.map((part) => resolve(part)), rest) as Schema
    }
    known.set(schema, result)
    return result
  }
  return resolve
}

export type Path = readonly (string | number)[]

/** The schema of the value at a path; undefined where it says nothing. */
export function schemaAt(schema: KindSchema, path: Path): Schema | undefined {
  let current = schema.resolve(schema.root)
  for (const name of path) {
    if (!current) return undefined
    const next: Schema | undefined =
      typeof name === 'number' || (current.type === 'array' && /^\d+$/.test(name))
        ? current.items
        : (current.properties?.[name] ?? (typeof current.additionalProperties === 'object' ? current.additionalProperties : undefined))
    current = schema.resolve(next)
  }
  return current
}

/** `integer`, `list of string`, `map of ...`: a type in a word. */
export function typeText(schema: KindSchema, of: Schema | undefined): string {
  const found = schema.resolve(of)
  if (!found) return ''
  if (found.enum) return found.enum.map(String).join(' | ')
  if (found.type === 'array') return `[${typeText(schema, found.items)}]`
  if (found.type === 'object' && typeof found.additionalProperties === 'object') return `{${typeText(schema, found.additionalProperties)}}`
  if (found['x-kubernetes-int-or-string']) return 'integer | string'
  return found.format && found.type === 'string' ? `${found.format}` : (found.type ?? 'any')
}

/** A first manifest of a kind: what is required, with a place for each value. */
export function skeleton(schema: KindSchema, of?: Schema, depth = 0): unknown {
  const found = schema.resolve(of ?? schema.root)
  if (!found) return ''
  if (found.default !== undefined) return found.default
  if (found.enum?.length) return found.enum[0]
  if (found.type === 'array') return found.minItems ? [skeleton(schema, found.items, depth + 1)] : []
  if (found.type === 'integer' || found.type === 'number') return found.minimum ?? 0
  if (found.type === 'boolean') return false
  if (found.type === 'object' || found.properties) {
    if (depth > 6) return {}
    return Object.fromEntries((found.required ?? []).map((name) => [name, skeleton(schema, found.properties?.[name], depth + 1)]))
  }
  return ''
}
