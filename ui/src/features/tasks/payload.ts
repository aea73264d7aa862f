/** A form for a payload: the fields that a task's JSON Schema and default payload name. Pure. */
import type { Param } from '../runs/model/params'
import { hasType } from '../workflows/model/checks'
import type { Json } from '@/components/yaml/json'
import { isMap } from '../workflows/model/definition'

const TYPES = ['string', 'integer', 'number', 'boolean', 'object', 'array'] as const

/** Fields of a payload as parameters; none when only the values themselves are known. */
export function payloadParams(schema: unknown, defaults: unknown): Param[] {
  const properties = isMap(schema) && isMap(schema.properties) ? schema.properties : {}
  const given = isMap(defaults) ? defaults : {}
  const required = isMap(schema) && Array.isArray(schema.required) ? schema.required : []
  return [...new Set([...Object.keys(properties), ...Object.keys(given)])].map((name) => {
    const one = isMap(properties[name]) ? properties[name] : {}
    const preset: Json = given[name] ?? one.default ?? null
    const type = TYPES.find((each) => each === one.type) ?? TYPES.find((each) => each !== 'number' && hasType(preset, each)) ?? 'string'
    return {
      name, type, default: preset ?? (required.includes(name) ? null : type === 'string' ? '' : null), required: required.includes(name),
      enum: Array.isArray(one.enum) ? one.enum : [], description: typeof one.description === 'string' ? one.description : '',
    }
  })
}
