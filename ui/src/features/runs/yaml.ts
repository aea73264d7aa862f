/** Values for reading: as YAML, which is shorter than JSON. */
import { blockText } from '@/components/yaml/patch/patch'
import type { Json } from '@/components/yaml/json'

export { flowText } from '@/components/yaml/patch/patch'

export function plainYaml(value: Json): string {
  return typeof value === 'string' ? value : blockText(value, 0)
}
