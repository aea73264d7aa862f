/**
 * One of several manifests in a text, read and changed while the others stay letter by letter.
 *
 *     text --partsOf--> [{from, to}] --valueOf--> value --edited--> patchYaml of that part --> text
 */
import { parseDocument } from 'yaml'
import { isObject, type Json } from '@/components/yaml/json'
import { patchYaml } from '@/components/yaml/patch/patch'
import type { Path } from '@/components/yaml/schema'
import { withAt } from './values'

export interface Part {
  from: number
  to: number
  /** What it holds; undefined while it cannot be read. */
  value: { [key: string]: Json } | undefined
  /** Why it cannot be read, and in which line of the whole text. */
  error?: { message: string; line: number }
}

export function partsOf(text: string): Part[] {
  const cuts: [number, number][] = []
  for (const found of text.matchAll(/^---(?:[ \t].*)?(?:\n|$)/gm)) cuts.push([found.index, found.index + found[0].length])
  const edges = [...cuts, [text.length, text.length] as [number, number]]
  const parts: Part[] = []
  let from = 0
  for (const [end, next] of edges) {
    const part = partOf(text, from, end)
    if (part) parts.push(part)
    from = next
  }
  return parts
}

function partOf(text: string, from: number, to: number): Part | undefined {
  const own = text.slice(from, to)
  if (!own.trim()) return undefined
  const document = parseDocument(own, { logLevel: 'silent', merge: true, prettyErrors: false })
  const error = document.errors[0]
  const lineAt = (offset: number): number => text.slice(0, from + offset).split('\n').length
  if (error) return { from, to, value: undefined, error: { message: error.message, line: lineAt(error.pos[0]) } }
  if (!document.contents) return undefined
  const value = document.toJS({ maxAliasCount: 100 }) as Json
  if (!isObject(value)) return { from, to, value: undefined, error: { message: '', line: lineAt(0) } }
  return { from, to, value }
}

/** The text with another value at a path of one of its parts. */
export function edited(text: string, index: number, path: Path, wanted: Json | undefined): string {
  const part = partsOf(text)[index]
  if (!part?.value) return text
  const value = withAt(part.value, path, wanted) ?? {}
  return text.slice(0, part.from) + patchYaml(text.slice(part.from, part.to), value) + text.slice(part.to)
}
