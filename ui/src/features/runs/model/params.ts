/**
 * Parameters of a run as a form asks for them: what is typed becomes a value, or a word about what is wrong.
 */
import { hasType } from '../../workflows/model/checks'
import { isEqual } from '@/components/yaml/json'
import type { Json } from '@/components/yaml/json'
import { isMap } from '../../workflows/model/definition'

export interface Param {
  name: string
  type: 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'array'
  default: Json
  required: boolean
  enum: Json[]
  description: string
}
export type ParamProblem = 'required' | 'type' | 'enum' | 'json'

/** Parameters as they are written: a list, or a map from name to default. */
export function paramsOf(spec: unknown): Param[] {
  const raw = isMap(spec) ? spec.params : undefined
  const list: Json[] = Array.isArray(raw) ? raw : isMap(raw) ? Object.entries(raw).map(([name, value]) => ({ name, type: typeName(value), default: value })) : []
  return list.filter(isMap).map((one) => ({
    name: String(one.name ?? ''),
    type: (['string', 'integer', 'number', 'boolean', 'object', 'array'].includes(String(one.type)) ? one.type : 'string') as Param['type'],
    default: one.default ?? null,
    required: one.required === true,
    enum: Array.isArray(one.enum) ? one.enum : [],
    description: typeof one.description === 'string' ? one.description : '',
  }))
}

function typeName(value: Json): string {
  for (const type of ['boolean', 'integer', 'number', 'object', 'array']) if (hasType(value, type)) return type
  return 'string'
}

/** What a form begins with: the defaults as texts. */
export function firstTexts(params: readonly Param[], given: Readonly<Record<string, Json>> = {}): Record<string, string> {
  return Object.fromEntries(params.map((param) => [param.name, textOf(given[param.name] ?? param.default, param.type)]))
}

export function textOf(value: Json, type: string): string {
  if (value === null || value === undefined) return type === 'boolean' ? 'false' : ''
  if (type === 'string' && typeof value === 'string') return value
  return typeof value === 'object' ? JSON.stringify(value, null, 1) : String(value)
}

/** The value of a text; undefined for an empty one, which leaves the default. */
export function readParam(param: Param, text: string): { value?: Json; problem?: ParamProblem } {
  const value = readText(param.type, text)
  if (value === undefined || value === null) return param.default === null ? (param.type === 'string' && !param.required ? { value: '' } : { problem: 'required' }) : {}
  if (typeof value === 'symbol') return { problem: param.type === 'object' || param.type === 'array' ? 'json' : 'type' }
  if (!hasType(value, param.type)) return { problem: 'type' }
  if (param.enum.length > 0 && !param.enum.some((one) => isEqual(one, value))) return { problem: 'enum' }
  return { value }
}

const WRONG = Symbol('wrong')

function readText(type: string, text: string): Json | undefined | typeof WRONG {
  if (type === 'string') return text === '' ? undefined : text
  const trimmed = text.trim()
  if (trimmed === '') return undefined
  if (type === 'boolean') return trimmed === 'true' ? true : trimmed === 'false' ? false : WRONG
  if (type === 'integer' || type === 'number') {
    const value = Number(trimmed)
    return Number.isFinite(value) ? value : WRONG
  }
  try {
    return JSON.parse(trimmed) as Json
  } catch {
    return WRONG
  }
}

/** All values that were given, and what is wrong. Values equal to the default are left out. */
export function readAll(params: readonly Param[], texts: Readonly<Record<string, string>>): { values: Record<string, Json>; problems: Record<string, ParamProblem> } {
  const values: Record<string, Json> = {}
  const problems: Record<string, ParamProblem> = {}
  for (const param of params) {
    const { value, problem } = readParam(param, texts[param.name] ?? '')
    if (problem) problems[param.name] = problem
    else if (value !== undefined && !isEqual(value, param.default)) values[param.name] = value
  }
  return { values, problems }
}
