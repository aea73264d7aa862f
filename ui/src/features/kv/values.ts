/** Values of the key-value store as people type them, by the type of their entry. Pure. */

export const KV_TYPES = ['string', 'int', 'double', 'bool', 'json', 'bytes'] as const
export type KvType = (typeof KV_TYPES)[number]

export interface KvEntry {
  namespace: string
  key: string
  type: KvType
  value: unknown
  revision: string
  ttl: string
  expiresAt: string
}

/** The parts of an object of kind KV that make its entry. */
interface KvObject {
  metadata: { name: string; namespace?: string; resourceVersion: string }
  spec: { key?: string; type?: string; value?: unknown; ttl?: string | null; expiresAt?: string | null }
}

export function entryOf(object: KvObject): KvEntry {
  const { metadata, spec } = object
  return {
    namespace: metadata.namespace ?? 'default', key: spec.key || metadata.name, type: (spec.type ?? 'json') as KvType, value: spec.value,
    revision: metadata.resourceVersion, ttl: spec.ttl ?? '', expiresAt: spec.expiresAt ?? '',
  }
}

/** A lock is an entry whose value says who holds it and with which token. */
export function lockOf(entry: KvEntry): { holder: string; token: number } | undefined {
  const value = entry.value as { holder?: unknown; token?: unknown } | null
  if (entry.type !== 'json' || typeof value !== 'object' || value === null) return undefined
  return typeof value.holder === 'string' && typeof value.token === 'number' ? { holder: value.holder, token: value.token } : undefined
}

/** Where an entry is. A key may hold anything, `/` and `..` too, so it stands in the query. */
export function entryPath(namespace: string, key: string): string {
  return `/kv/${encodeURIComponent(namespace)}?key=${encodeURIComponent(key)}`
}

/** A value as one line. */
export function shownValue(type: KvType, value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (type === 'bytes') return `${bytesIn(String(value))} B`
  return typeof value === 'string' && type === 'string' ? value : JSON.stringify(value)
}

export function bytesIn(base64: string): number {
  return Math.max(0, (base64.length / 4) * 3 - (base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0))
}

/** What an editor of the value starts with. */
export function typedValue(type: KvType, value: unknown): string {
  if (type === 'json') return JSON.stringify(value ?? null, null, 2)
  return value === undefined || value === null ? '' : String(value)
}

export type ValueProblem = 'int' | 'int64' | 'double' | 'bool' | 'json' | 'base64'

/** The body of a PUT with `?type=`, or why there is none. Bytes are typed as base64. */
export function bodyOf(type: KvType, typed: string): { body: string | Uint8Array<ArrayBuffer>; problem?: undefined } | { body?: undefined; problem: ValueProblem } {
  const text = typed.trim()
  switch (type) {
    case 'int': {
      if (!/^[+-]?\d+$/.test(text)) return { problem: 'int' }
      const value = BigInt(text)
      return value >= -(2n ** 63n) && value < 2n ** 63n ? { body: text.replace(/^\+/, '') } : { problem: 'int64' }
    }
    case 'double':
      return text !== '' && Number.isFinite(Number(text)) ? { body: text } : { problem: 'double' }
    case 'bool':
      return text === 'true' || text === 'false' ? { body: text } : { problem: 'bool' }
    case 'json':
      try {
        JSON.parse(text)
        return { body: text }
      } catch {
        return { problem: 'json' }
      }
    case 'bytes':
      try {
        return { body: Uint8Array.from(atob(text), (character) => character.charCodeAt(0)) }
      } catch {
        return { problem: 'base64' }
      }
    default:
      return { body: typed }
  }
}

/** Which entries a search shows: all words are in the key or in the value. */
export function matches(entry: KvEntry, words: string): boolean {
  const text = `${entry.key} ${entry.type === 'bytes' ? '' : shownValue(entry.type, entry.value)}`.toLowerCase()
  return words.toLowerCase().split(/\s+/).every((word) => text.includes(word))
}
