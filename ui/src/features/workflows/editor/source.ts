/**
 * The text that a stored workflow is edited as.
 *
 * The API stores values, not texts. So that comments and the order of keys stay, the text is kept as an annotation, with a mark of
 * the definition it belongs to. When somebody else has changed the definition since, the new values are put into that text.
 */
import type { Obj } from '@/api'
import type { Json } from '@/components/yaml/json'
import type { JsonMap } from '../model/definition'
import { blockText, patchYaml, valueOf } from '@/components/yaml/patch/patch'

export const SOURCE = 'plum.dev/source'
const MARK = 'plum.dev/source-of'
const MOST = 120_000
/** Characters. Annotations of an object may have 256 KiB together. */

/** A short mark of a value, whatever the order of its keys. */
export function markOf(value: unknown): string {
  let hash = 0x811c9dc5
  const text = JSON.stringify(sorted(value))
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0
  return `${hash.toString(36)}-${text.length}`
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, item]) => [key, sorted(item)]))
}

/** What people edit of an object: no status, nothing that the server fills in, short forms where they say the same. */
export function editableOf(object: Obj): JsonMap {
  const { name, namespace, labels, annotations } = object.metadata
  const kept = Object.fromEntries(Object.entries(annotations ?? {}).filter(([key]) => key !== SOURCE && key !== MARK && !key.startsWith('kubectl.kubernetes.io/')))
  const metadata: JsonMap = { name }
  if (namespace) metadata.namespace = namespace
  if (labels && Object.keys(labels).length > 0) metadata.labels = labels
  if (Object.keys(kept).length > 0) metadata.annotations = kept
  return { apiVersion: object.apiVersion, kind: object.kind, metadata, spec: shortened(JSON.parse(JSON.stringify(object.spec ?? {})) as Json) }
}

/** `dependsOn: [{node: a}]` is written `[a]`. */
function shortened(value: Json): Json {
  if (Array.isArray(value)) return value.map(shortened)
  if (typeof value !== 'object' || value === null) return value
  const result: JsonMap = {}
  for (const [key, item] of Object.entries(value)) {
    const isEdges = key === 'dependsOn' && Array.isArray(item)
    result[key] = isEdges ? item.map((edge) => (typeof edge === 'object' && edge !== null && !Array.isArray(edge) && Object.keys(edge).length === 1 && typeof edge.node === 'string' ? edge.node : edge)) : shortened(item)
  }
  return result
}

export function textOf(object: Obj, editable = editableOf(object)): string {
  const kept = object.metadata.annotations?.[SOURCE]
  if (kept) {
    try {
      valueOf(kept)
      return object.metadata.annotations?.[MARK] === markOf(object.spec) ? kept : patchYaml(kept, editable)
    } catch {
      // A text that is no YAML any more is not shown.
    }
  }
  return plainText(editable)
}

/** Whether the text of an object says just its values, so that reading it again tells nothing new. */
export function hasOwnText(object: Obj): boolean {
  return Boolean(object.metadata.annotations?.[SOURCE])
}

/** YAML with one line for what is short. */
export function plainText(value: JsonMap): string {
  return `${blockText(value, 0)}\n`
}

/** Annotations that keep the text: only where it says more than the values do. `stored` is the spec as the server will store it. */
export function sourceAnnotations(text: string, stored: unknown): Record<string, string> {
  return /(^|\s)#/m.test(text) && text.length <= MOST ? { [SOURCE]: text, [MARK]: markOf(stored) } : {}
}
