/**
 * Which nodes an expression reads, found without the language: enough to warn while somebody types, and to rename.
 *
 *     "zone ${{ nodes.scan.output.zone }}" -> ["scan"]        conditions are expressions as a whole
 *
 * The server checks the grammar; this never says that an expression is fine, only what it names and where it is not closed.
 */
import type { Json } from '@/components/yaml/json'

const NAMED = /("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\b(nodes|steps)(?:\.([A-Za-z0-9_][A-Za-z0-9_-]*)|\[\s*("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')\s*\])/g
const OPENING = /\$\$\{\{|\$\{\{|\{\{/g
const CURLY = /^\s*(variables|steps|nodes|secrets|input|params|run|loop|item|event)\s*(?:[.[}]|$)/

/** Names of nodes in an expression, in the order they stand. With `-` in them they may be subtractions: `known` decides. */
export function nodesIn(expression: string, known: ReadonlySet<string>): string[] {
  const found: string[] = []
  for (const match of expression.matchAll(NAMED)) {
    if (match[1] !== undefined || !isStart(expression, match.index)) continue
    const name = match[3] ?? unquoted(match[4] ?? '')
    found.push(known.has(name) ? name : (name.split('-')[0] ?? name))
  }
  return found
}

function isStart(text: string, at: number): boolean {
  return text[at - 1] !== '.' && text[at - 1] !== '`'
}

/** The expressions inside of a text, with their places; `closed: false` where `}}` is missing. */
export function expressionsIn(text: string): { from: number; to: number; closed: boolean }[] {
  const found: { from: number; to: number; closed: boolean }[] = []
  OPENING.lastIndex = 0
  for (let match = OPENING.exec(text); match; match = OPENING.exec(text)) {
    const from = match.index + match[0].length
    if (match[0] === '$${{' || (match[0] === '{{' && !CURLY.test(text.slice(from)))) continue
    const to = closing(text, from)
    found.push({ from, to: to < 0 ? text.length : to, closed: to >= 0 })
    if (to < 0) break
    OPENING.lastIndex = to + 2
  }
  return found
}

function closing(text: string, from: number): number {
  let depth = 0
  let quote = ''
  for (let at = from; at < text.length; at++) {
    const letter = text[at] as string
    if (quote) {
      if (letter === '\\') at += 1
      else if (letter === quote) quote = ''
    } else if (letter === '"' || letter === "'") quote = letter
    else if (letter === '{') depth += 1
    else if (letter === '}' && depth > 0) depth -= 1
    else if (letter === '}' && text[at + 1] === '}') return at
  }
  return -1
}

/** A condition without the braces that it may stand in. */
export function bare(condition: string): { text: string; offset: number } {
  const trimmed = condition.trim()
  for (const opening of ['${{', '{{'])
    if (trimmed.startsWith(opening) && trimmed.endsWith('}}')) return { text: trimmed.slice(opening.length, -2), offset: condition.indexOf(opening) + opening.length }
  return { text: condition, offset: 0 }
}

/** Brackets and quotes that do not fit: the commonest mistake, told before the server is asked. */
export function unbalanced(expression: string): string | null {
  const open: string[] = []
  const pairs: Record<string, string> = { ')': '(', ']': '[', '}': '{' }
  for (let at = 0; at < expression.length; at++) {
    const letter = expression[at] as string
    if (letter === '"' || letter === "'") {
      let end = at + 1
      while (end < expression.length && expression[end] !== letter) end += expression[end] === '\\' ? 2 : 1
      if (end >= expression.length) return letter
      at = end
    } else if ('([{'.includes(letter)) open.push(letter)
    else if (letter in pairs && open.pop() !== pairs[letter]) return letter
  }
  return open.pop() ?? null
}

/** The expression with a node's new name. */
export function renamedIn(expression: string, from: string, to: string): string {
  return expression.replace(NAMED, (whole, quoted: string | undefined, root: string, plain: string | undefined, key: string | undefined, at: number) => {
    if (quoted !== undefined || !isStart(expression, at)) return whole
    if (plain === from) return `${root}.${to}`
    if (plain?.startsWith(`${from}-`) && !from.includes('-')) return whole
    if (key !== undefined && unquoted(key) === from) return `${root}[${key[0]}${to}${key[0]}]`
    return whole
  })
}

/** A value with a node's new name in all of its expressions. */
export function renamedInValue(value: Json, from: string, to: string): Json {
  if (typeof value === 'string') {
    let result = ''
    let at = 0
    for (const found of expressionsIn(value)) {
      result += value.slice(at, found.from) + renamedIn(value.slice(found.from, found.to), from, to)
      at = found.to
    }
    return result + value.slice(at)
  }
  if (Array.isArray(value)) return mapped(value, (item) => renamedInValue(item, from, to))
  if (typeof value === 'object' && value !== null) {
    let changed = false
    const result: { [key: string]: Json } = {}
    for (const [key, item] of Object.entries(value)) {
      result[key] = renamedInValue(item, from, to)
      changed ||= result[key] !== item
    }
    return changed ? result : value
  }
  return value
}

/** The same list if nothing changed, so that unchanged parts stay identical. */
function mapped(list: Json[], change: (item: Json) => Json): Json[] {
  const result = list.map(change)
  return result.every((item, index) => item === list[index]) ? list : result
}

function unquoted(text: string): string {
  return text.slice(1, -1).replace(/\\(.)/g, '$1')
}
