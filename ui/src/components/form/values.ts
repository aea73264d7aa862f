/** Values at paths of JSON, changed without touching what is beside them. Pure. */
import { isObject, type Json } from '@/components/yaml/json'
import type { Path } from '@/components/yaml/schema'

export function valueAt(value: Json | undefined, path: Path): Json | undefined {
  let current: Json | undefined = value
  for (const step of path) {
    if (Array.isArray(current)) current = current[Number(step)]
    else current = current !== undefined && isObject(current) ? current[step] : undefined
  }
  return current
}

/**
 * A copy with another value there. `undefined` takes it away, and maps that became empty with it; items of lists and the parts of
 * a manifest that are always there stay.
 */
export function withAt(value: Json | undefined, path: Path, wanted: Json | undefined, depth = 0): Json | undefined {
  const [step, ...rest] = path
  if (step === undefined) return wanted
  if (typeof step === 'number') {
    const list = Array.isArray(value) ? [...value] : []
    const item = withAt(list[step], rest, wanted, depth + 1)
    if (item === undefined && rest.length > 0) list[step] = {}
    else if (item === undefined) list.splice(step, 1)
    else list[step] = item
    return list.length ? list : undefined
  }
  const map: { [key: string]: Json } = value !== undefined && isObject(value) ? { ...value } : {}
  const inner = withAt(map[step], rest, wanted, depth + 1)
  const kept = depth === 0 && KEPT.has(step)
  if (inner === undefined && !kept) delete map[step]
  else map[step] = inner ?? {}
  return wanted === undefined && depth > 0 && Object.keys(map).length === 0 ? undefined : map
}
const KEPT = new Set(['metadata', 'spec'])

/** A key of a map with another name, at its place. */
export function renamedKey(map: { [key: string]: Json }, from: string, to: string): { [key: string]: Json } {
  return Object.fromEntries(Object.entries(map).filter(([key]) => key === from || key !== to).map(([key, value]) => [key === from ? to : key, value]))
}

/** What was typed for a field that takes a number or a text: `8080` is a number, `25%` is not. */
export function intOrString(text: string): Json | undefined {
  const trimmed = text.trim()
  return trimmed === '' ? undefined : /^-?\d{1,15}$/.test(trimmed) ? Number(trimmed) : trimmed
}

/** Text of base64; undefined when it is no text. */
export function decoded(base64: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)))
  } catch {
    return undefined
  }
}

export function encoded(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)))
}
