/** Completion and descriptions for YAML of a kind, from its schema. */

import type { Completion, CompletionContext, CompletionResult } from '@codemirror/autocomplete'
import { pathAtCursor } from './document'
import { schemaAt, typeText, type KindSchema, type Schema } from './schema'

/** Keys that stand in the same map already. */
function siblings(text: string, offset: number): Set<string> {
  const lines = text.split('\n')
  const at = text.slice(0, offset).split('\n').length - 1
  const columnOf = (line: string): number => /^\s*(?:-\s+)*/.exec(line)![0].length
  const column = columnOf(lines[at] ?? '')
  const found = new Set<string>()
  for (const step of [-1, 1]) {
    // The dash before the first key of an item ends the item upwards, the next dash ends it downwards.
    if (step === -1 && /^\s*-\s/.test(lines[at] ?? '')) continue
    for (let index = at + step; index >= 0 && index < lines.length; index += step) {
      const line = lines[index]!
      if (!line.trim()) continue
      if (/^---/.test(line)) break
      const indent = columnOf(line)
      if (indent < column) break
      const dash = /^\s*-\s/.test(line)
      if (dash && step === 1 && /^\s*/.exec(line)![0].length < column) break
      if (indent === column) {
        const key = /^\s*(?:-\s+)*["']?([^\s"'#:]+)["']?\s*:/.exec(line)?.[1]
        if (key) found.add(key)
      }
      if (dash && step === -1 && indent === column) break
    }
  }
  return found
}

function insertion(schema: KindSchema, name: string, of: Schema | undefined, indent: number): string {
  const found = schema.resolve(of)
  const deeper = ' '.repeat(indent + 2)
  if (found?.type === 'object' || found?.properties) return `${name}:\n${deeper}`
  if (found?.type === 'array') return `${name}:\n${deeper}- `
  return `${name}: `
}

export function completeYaml(schemaOf: (offset: number) => { schema: KindSchema; start: number } | undefined, kinds: () => readonly { apiVersion: string; kind: string }[]) {
  return (context: CompletionContext): CompletionResult | null => {
    const text = context.state.doc.toString()
    const found = schemaOf(context.pos)
    const start = found?.start ?? 0
    const cursor = pathAtCursor(text.slice(start), context.pos - start)
    if (!cursor) return null
    if (!cursor.word && !context.explicit && cursor.key === undefined && !/^\s*(-\s+)?$/.test(context.state.doc.lineAt(context.pos).text)) return null
    const from = start + cursor.from
    if (cursor.path.length === 0 && (cursor.key === 'kind' || cursor.key === 'apiVersion')) {
      const values = new Set(kinds().map((each) => (cursor.key === 'kind' ? each.kind : each.apiVersion)))
      return { from, options: [...values].map((label) => ({ label, type: 'enum' })), validFor: /^[\w./]*$/ }
    }
    if (!found) return cursor.path.length === 0 && cursor.key === undefined ? { from, options: ['apiVersion', 'kind', 'metadata'].map((label) => ({ label, type: 'property', apply: `${label}: ` })) } : null
    const { schema } = found
    if (cursor.key !== undefined) {
      const value = schemaAt(schema, [...cursor.path, cursor.key])
      const values = value?.enum ?? (value?.type === 'boolean' ? [true, false] : value?.default !== undefined && typeof value.default !== 'object' ? [value.default] : [])
      return values.length ? { from, options: values.map((each) => ({ label: String(each), type: 'enum', detail: each === value?.default ? 'default' : undefined })), validFor: /^[\w.-]*$/ } : null
    }
    const parent = schemaAt(schema, cursor.path)
    if (!parent?.properties) return null
    const there = siblings(text, context.pos)
    const indent = context.pos - cursor.word.length - context.state.doc.lineAt(context.pos).from
    const required = new Set(parent.required ?? [])
    const options: Completion[] = Object.entries(parent.properties)
      .filter(([name]) => !there.has(name) && !(cursor.path.length === 0 && name === 'status'))
      .map(([name, of]) => ({
        label: name,
        type: 'property',
        detail: typeText(schema, of).slice(0, 40) + (required.has(name) ? ' *' : ''),
        info: schema.resolve(of)?.description,
        apply: insertion(schema, name, of, indent),
        boost: required.has(name) ? 2 : 0,
      }))
    return { from, options, validFor: /^[\w-]*$/ }
  }
}
