/** Values for reading: as YAML, which is shorter than JSON. */
import { blockText } from '../workflows/model/yamlPatch'
import type { Json } from '../workflows/model/compare'

export { flowText } from '../workflows/model/yamlPatch'

export function plainYaml(value: Json): string {
  return typeof value === 'string' ? value : blockText(value, 0)
}
