/** A workflow made from a template: the same definition, with the given values as defaults of its parameters. Pure. */
import type { Json } from '@/components/yaml/json'
import { isMap } from './model/definition'
import type { JsonMap } from './model/definition'

export function fromTemplate(template: JsonMap, values: Readonly<Record<string, Json>>): JsonMap {
  const { template: _template, ...spec } = template
  const params = Array.isArray(spec.params) ? spec.params.map((param) => (isMap(param) && typeof param.name === 'string' && param.name in values ? { ...param, default: values[param.name] as Json } : param)) : spec.params
  return params === undefined ? spec : { ...spec, params }
}
