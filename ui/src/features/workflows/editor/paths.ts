/** Values at paths in JSON, changed without touching what is beside them. */
import type { Json } from '@/components/yaml/json'
import { isMap } from '../model/definition'
import type { JsonMap } from '../model/definition'

export function valueAt(value: Json | undefined, path: string): Json | undefined {
  let current: Json | undefined = value
  for (const step of path.split('.')) current = isMap(current) ? current[step] : undefined
  return current
}

/** A copy with another value there; `undefined` takes it away, and maps that became empty with it. */
export function withValue(map: JsonMap, path: string, value: Json | undefined): JsonMap {
  const [first = '', ...rest] = path.split('.')
  const result: JsonMap = { ...map }
  if (rest.length === 0) {
    if (value === undefined) delete result[first]
    else result[first] = value
    return result
  }
  const inner = withValue(isMap(map[first]) ? map[first] : {}, rest.join('.'), value)
  if (value === undefined && Object.keys(inner).length === 0) delete result[first]
  else result[first] = inner
  return result
}
