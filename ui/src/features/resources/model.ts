/** The twin of a device as rows, and the forms of its values: pure, from the model that the Resource brings along. */

import type { Operation, Resource } from '@/api/types'

export type ValueType = 'string' | 'integer' | 'double' | 'boolean' | 'enum' | 'object' | 'array'

/** A property, or an argument of an operation, as `spec.model` describes it. */
export interface ValueModel {
  name: string
  type: ValueType
  unit?: string
  min?: number
  max?: number
  enum?: unknown[]
  description?: string
  readOnly?: boolean
  required?: boolean
  default?: unknown
}

export interface OperationModel {
  name: string
  description?: string
  arguments: ValueModel[]
}

export type Quality = 'good' | 'uncertain' | 'bad' | 'stale'

export interface TwinRow {
  name: string
  model: ValueModel | undefined
  desired: unknown
  reported: unknown
  quality: Quality | undefined
  /** When the controller got it; ISO 8601. */
  time: string | undefined
  differs: boolean
  /** It may be given a desired value. */
  writable: boolean
}

type Reported = { value?: unknown; time?: string | null; quality?: Quality }

export function propertyModels(resource: Resource): ValueModel[] {
  return (resource.spec.model?.properties ?? []) as unknown as ValueModel[]
}

export function operationModels(resource: Resource): OperationModel[] {
  return ((resource.spec.model?.operations ?? []) as unknown as Partial<OperationModel>[]).map((operation) => ({
    name: operation.name ?? '', description: operation.description, arguments: operation.arguments ?? [],
  }))
}

/** Desired and reported side by side, those of the model first and in its order, then what is only desired or reported. What differs says so. */
export function twinRows(resource: Resource): TwinRow[] {
  const models = propertyModels(resource)
  const desired = (resource.spec.desired ?? {}) as Record<string, unknown>
  const reported = (resource.status?.reported ?? {}) as Record<string, Reported>
  const delta = (resource.status?.delta ?? {}) as Record<string, unknown>
  const known = models.map((model) => model.name)
  const others = [...new Set([...Object.keys(desired), ...Object.keys(reported)])].filter((name) => !known.includes(name)).sort()
  return [...known, ...others].map((name) => {
    const model = models.find((candidate) => candidate.name === name)
    const told = reported[name]
    return {
      name, model, desired: desired[name], reported: told?.value, quality: told?.quality, time: told?.time ?? undefined,
      differs: name in delta, writable: model ? !model.readOnly : models.length === 0,
    }
  })
}

/** A value as people read it: text as it is, everything else as JSON, with its unit. */
export function shown(value: unknown, unit = ''): string {
  if (value === undefined || value === null) return '–'
  const text = typeof value === 'string' ? value : typeof value === 'number' ? String(Number.isInteger(value) ? value : Number(value.toPrecision(8))) : JSON.stringify(value)
  return unit ? `${text} ${unit}` : text
}

/** Why a value that was typed cannot be: a key below `resources.error` and what it names. */
export interface Refusal {
  key: 'required' | 'integer' | 'number' | 'boolean' | 'json' | 'object' | 'array' | 'min' | 'max' | 'enum'
  named: Record<string, unknown>
}

export type Parsed = { value: unknown; refusal?: undefined } | { value?: undefined; refusal: Refusal }

const refuse = (key: Refusal['key'], named: Record<string, unknown> = {}): Parsed => ({ refusal: { key, named } })

/** What was typed, as the value the model asks for. Empty text is no value, which only a required one refuses. */
export function parseValue(model: ValueModel, typed: string | boolean): Parsed {
  if (typed === '' && model.type !== 'string') return model.required ? refuse('required') : { value: undefined }
  let value: unknown = typed
  switch (model.type) {
    case 'integer':
      if (!/^[+-]?\d+$/.test(String(typed).trim())) return refuse('integer')
      value = Number(typed)
      break
    case 'double':
      value = Number(String(typed).trim())
      if (String(typed).trim() === '' || !Number.isFinite(value)) return refuse('number')
      break
    case 'boolean':
      if (typed !== true && typed !== false && typed !== 'true' && typed !== 'false') return refuse('boolean')
      value = typed === true || typed === 'true'
      break
    case 'enum':
      value = (model.enum ?? []).find((choice) => choice === typed || String(choice) === String(typed))
      break
    case 'object':
    case 'array':
      try {
        value = JSON.parse(String(typed))
      } catch {
        return refuse('json')
      }
      if (model.type === 'array' ? !Array.isArray(value) : typeof value !== 'object' || value === null || Array.isArray(value)) return refuse(model.type)
      break
    default:
      value = String(typed)
      if (value === '' && model.required) return refuse('required')
  }
  if (model.enum?.length && !model.enum.some((choice) => choice === value)) return refuse('enum', { choices: model.enum.map(String).join(', ') })
  if (typeof value === 'number') {
    if (typeof model.min === 'number' && value < model.min) return refuse('min', { min: shown(model.min, model.unit) })
    if (typeof model.max === 'number' && value > model.max) return refuse('max', { max: shown(model.max, model.unit) })
  }
  return { value }
}

/** What the input of a value starts with. */
export function typedOf(model: ValueModel, value: unknown): string | boolean {
  if (model.type === 'boolean') return value === true
  if (value === undefined || value === null) return ''
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

/** What a property without a model is: the type of the value it has. */
export function guessedModel(name: string, value: unknown): ValueModel {
  const type: ValueType =
    typeof value === 'boolean' ? 'boolean' : typeof value === 'number' ? 'double' : Array.isArray(value) ? 'array' : typeof value === 'object' && value !== null ? 'object' : 'string'
  return { name, type }
}

/** The arguments of a call, or what is wrong with each of them. Arguments without a value are left out: the model's default counts. */
export function parseArguments(operation: OperationModel, typed: Readonly<Record<string, string | boolean>>): { values: Record<string, unknown>; refusals: Record<string, Refusal> } {
  const values: Record<string, unknown> = {}
  const refusals: Record<string, Refusal> = {}
  for (const argument of operation.arguments) {
    const given = typed[argument.name]
    if (given === undefined || (given === '' && !argument.required)) {
      if (argument.required) refusals[argument.name] = { key: 'required', named: {} }
      continue
    }
    const parsed = parseValue(argument, given)
    if (parsed.refusal) refusals[argument.name] = parsed.refusal
    else if (parsed.value !== undefined) values[argument.name] = parsed.value
  }
  return { values, refusals }
}

const TERMINAL: ReadonlySet<string> = new Set(['Succeeded', 'Failed', 'Expired', 'Canceled', 'Unknown'])

/** A cancelled operation is asked to stop; one that has ended cannot be. */
export function canCancel(operation: Operation): boolean {
  return !operation.spec.canceled && !TERMINAL.has(operation.status?.phase ?? 'Queued')
}

/** Newest first. */
export function byAge(operations: readonly Operation[]): Operation[] {
  return [...operations].sort(
    (left, right) => right.metadata.creationTimestamp.localeCompare(left.metadata.creationTimestamp) || right.metadata.name.localeCompare(left.metadata.name),
  )
}

/** A span of the history (`step=`), as the route tells it. */
export interface Span {
  property: string
  time: string
  count: number
  last: unknown
  min?: number
  max?: number
  avg?: number
}

/** What a chart draws of a property: the mean of each span, and between which values it was. Milliseconds since 1970, in order. */
export interface Curve {
  mean: [number, number][]
  low: [number, number][]
  high: [number, number][]
}

/** Spans and then what was reported since they were read. Truth values are 0 and 1; what is no number cannot be drawn. */
export function curveOf(spans: readonly Span[], since: readonly { time: string; value: unknown }[] = []): Curve {
  const curve: Curve = { mean: [], low: [], high: [] }
  const add = (time: number, mean: number, low: number, high: number) => {
    curve.mean.push([time, mean])
    curve.low.push([time, low])
    curve.high.push([time, high])
  }
  for (const span of [...spans].sort((left, right) => left.time.localeCompare(right.time))) {
    if (span.avg !== undefined) add(Date.parse(span.time), span.avg, span.min ?? span.avg, span.max ?? span.avg)
  }
  let last = curve.mean.at(-1)?.[0] ?? -Infinity
  for (const { time, value } of since) {
    const number = typeof value === 'boolean' ? Number(value) : value
    const moment = Date.parse(time)
    if (typeof number !== 'number' || !Number.isFinite(number) || !(moment > last)) continue
    add(moment, number, number, number)
    last = moment
  }
  return curve
}

/** Spans of the history that the page offers, and how wide each point is: about 240 for a chart. */
export const SPANS = { '15m': '4s', '1h': '15s', '6h': '90s', '24h': '6m', '7d': '42m' } as const
export type SpanName = keyof typeof SPANS

/** How many desired values are not what is reported. */
export function differing(resource: Resource): number {
  return Object.keys(resource.status?.delta ?? {}).length
}

/** What an operation came to: the error in words, else the result. */
export function outcomeOf(operation: Operation): string {
  const { error, result } = operation.status ?? {}
  return error || (result === undefined || result === null ? '' : shown(result))
}
