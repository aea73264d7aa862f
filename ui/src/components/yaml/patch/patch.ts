/**
 * Gives a YAML text another value and leaves everything else of the text as it is: comments, quotes, order, line breaks.
 *
 *     text, wanted value --compare--> splices --apply--> text that has the wanted value
 *
 * What is equal is not touched, so `patchYaml(text, valueOf(text))` is the text itself. Where the text has constructs that
 * cannot be spliced (anchors, comments inside of `{...}`), the document is written anew, still with its comments.
 */
import { isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml'
import type { Node, Pair, ParsedNode, YAMLMap, YAMLSeq } from 'yaml'
import { isEqual, isObject, matchLists } from '../json'
import type { Json } from '../json'
import { CannotSplice, colonOf, columnOf, commentsAbove, dashesOf, endOf, endOfPair, isFlow, keyOf, lineEnd, lineStart, newlineBefore, startOf } from './places'
import { afterColon, blockText, flowText, isSmall, keyText, pairText } from './render'
import { rewritten, valueOf } from './rewrite'

export { blockText, flowText, valueOf }

/** Replaces `[from, to)` by `text`. */
export interface Splice {
  from: number
  to: number
  text: string
}

interface Source {
  text: string
}

/** The text with the wanted value. The text must be without syntax errors. */
export function patchYaml(text: string, wanted: Json): string {
  const document = parseDocument(text, { keepSourceTokens: true, logLevel: 'silent', merge: true })
  const error = document.errors[0]
  if (error) throw error
  const current = (document.toJS({ maxAliasCount: 100 }) ?? null) as Json
  if (isEqual(current, wanted)) return text
  if (!document.contents) return (text === '' || text.endsWith('\n') ? text : `${text}\n`) + blockText(wanted, 0) + '\n'
  try {
    const result = applySplices(text, splices({ text }, document.contents, current, wanted))
    if (isEqual(valueOf(result), wanted)) return result
  } catch (problem) {
    if (!(problem instanceof CannotSplice) && !(problem instanceof Error && problem.name === 'YAMLParseError')) throw problem
  }
  return rewritten(text, wanted)
}

/** The text after all splices, which do not overlap. Of two at the same place the first comes first. */
export function applySplices(text: string, list: readonly Splice[]): string {
  const sorted = list.map((splice, index) => ({ splice, index })).sort((a, b) => a.splice.from - b.splice.from || a.index - b.index)
  let result = ''
  let at = 0
  for (const { splice } of sorted) {
    if (splice.from < at) throw new CannotSplice('overlap')
    result += text.slice(at, splice.from) + splice.text
    at = splice.to
  }
  return result + text.slice(at)
}

/** What to change so that a node has the wanted value, the node being the whole of a document. */
function splices(source: Source, node: ParsedNode, current: Json, wanted: Json): Splice[] {
  const found = inside(source, node, current, wanted)
  if (found) return found
  return [{ from: node.range[0], to: endOf(node), text: isFlow(node) ? flowText(wanted) : blockText(wanted, 0) }]
}

/** Changes inside a collection; null when the node has to be replaced as a whole. */
function inside(source: Source, node: Node | null, current: Json, wanted: Json): Splice[] | null {
  if (isEqual(current, wanted)) return []
  if (isAlias(node) || (node && (node as { anchor?: string }).anchor)) throw new CannotSplice('anchor')
  if (isMap(node) && isObject(current) && isObject(wanted) && Object.keys(wanted).length > 0)
    return node.flow ? flowMap(source, node, current, wanted) : blockMap(source, node, current, wanted)
  if (isSeq(node) && Array.isArray(current) && Array.isArray(wanted) && wanted.length > 0)
    return node.flow ? flowSeq(source, node, current, wanted) : blockSeq(source, node, current, wanted)
  return null
}

/** A value on the line of its key that is to have more than is read at a glance: it is written in lines, as people would. */
function outgrows(source: Source, node: Node | null, current: Json, wanted: Json): boolean {
  if (!node?.range || !isFlow(node) || !isSmall(current) || isSmall(wanted)) return false
  const end = endOf(node)
  return !/[#&*]/.test(source.text.slice(node.range[0], end)) && source.text.slice(end, lineEnd(source.text, end)).trim() === ''
}

// ---- maps

function blockMap(source: Source, map: YAMLMap, current: Record<string, Json>, wanted: Record<string, Json>): Splice[] {
  const list: Splice[] = []
  const pairs = map.items as Pair<Node, Node | null>[]
  const indent = columnOf(source.text, startOf(pairs[0]?.key))
  const keys = pairs.map(keyOf)
  const kept = keys.some((key) => key in wanted)
  if (!kept) throw new CannotSplice('no key stays')
  pairs.forEach((pair, index) => {
    const key = keys[index] as string
    if (key in wanted) list.push(...pairValue(source, pair, indent, current[key] as Json, wanted[key] as Json))
    else list.push(removedPair(source, pairs, index))
  })
  const added = Object.keys(wanted).filter((key) => !keys.includes(key))
  if (added.length > 0) {
    const at = lineEnd(source.text, endOfPair(pairs[pairs.length - 1] as Pair<Node, Node | null>))
    const lines = added.map((key) => ' '.repeat(indent) + pairText(key, wanted[key] as Json, indent) + '\n').join('')
    list.push({ from: at, to: at, text: newlineBefore(source.text, at) + lines })
  }
  return list
}

function pairValue(source: Source, pair: Pair<Node, Node | null>, indent: number, current: Json, wanted: Json): Splice[] {
  const found = outgrows(source, pair.value, current, wanted) ? null : inside(source, pair.value, current, wanted)
  if (found) return found
  const colon = colonOf(pair)
  const value = pair.value
  const end = value && value.range ? Math.max(endOf(value), colon + 1) : colon + 1
  const start = value && value.range ? Math.max(value.range[0], colon + 1) : colon + 1
  const between = source.text.slice(colon + 1, start)
  const isBlockScalar = isScalar(value) && (value.type === 'BLOCK_LITERAL' || value.type === 'BLOCK_FOLDED')
  const text = afterColon(wanted, indent)
  const tail = isBlockScalar && source.text[end - 1] === '\n' ? '\n' : ''
  if (between.includes('#')) {
    if (isScalar(value) || text.startsWith('\n') || text.includes('\n')) throw new CannotSplice('comment before a value')
    return [
      { from: colon + 1, to: colon + 1, text },
      { from: start, to: end, text: '' },
    ]
  }
  return [{ from: colon + 1, to: end, text: text + tail }]
}

function removedPair(source: Source, pairs: readonly Pair<Node, Node | null>[], index: number): Splice {
  const pair = pairs[index] as Pair<Node, Node | null>
  const start = startOf(pair.key)
  const line = lineStart(source.text, start)
  if (source.text.slice(line, start).trim() === '')
    return { from: commentsAbove(source.text, line), to: lineEnd(source.text, endOfPair(pair)), text: '' }
  const next = pairs[index + 1]
  if (!next) throw new CannotSplice('last key beside a dash')
  const to = startOf(next.key)
  if (source.text.slice(endOfPair(pair), to).includes('#')) throw new CannotSplice('comment after a key beside a dash')
  return { from: start, to, text: '' }
}

function flowMap(source: Source, map: YAMLMap, current: Record<string, Json>, wanted: Record<string, Json>): Splice[] {
  const pairs = map.items as Pair<Node, Node | null>[]
  const keys = pairs.map(keyOf)
  const sameKeys = keys.length === Object.keys(wanted).length && keys.every((key) => key in wanted)
  const texts: string[] = []
  const list: Splice[] = []
  pairs.forEach((pair, index) => {
    const key = keys[index] as string
    if (!(key in wanted)) return
    const own = flowPair(source, pair, current[key] as Json, wanted[key] as Json)
    list.push(...own)
    texts.push(cut(source, startOf(pair.key), endOfPair(pair), own))
  })
  if (sameKeys) return list
  for (const key of Object.keys(wanted)) if (!keys.includes(key)) texts.push(`${keyText(key)}: ${flowText(wanted[key] as Json)}`)
  return [joined(source, map, '{', texts, '}')]
}

function flowPair(source: Source, pair: Pair<Node, Node | null>, current: Json, wanted: Json): Splice[] {
  const found = inside(source, pair.value, current, wanted)
  if (found) return found
  const value = pair.value
  const colon = pair.srcToken?.sep?.find((token) => token.type === 'map-value-ind')
  if (!value?.range || !colon) throw new CannotSplice('a flow key without a value')
  return [{ from: value.range[0], to: endOf(value), text: value.range[0] === colon.offset + 1 ? ` ${flowText(wanted)}` : flowText(wanted) }]
}

// ---- lists

function blockSeq(source: Source, seq: YAMLSeq, current: Json[], wanted: Json[]): Splice[] {
  const list: Splice[] = []
  const items = seq.items as (Node | null)[]
  const dashes = dashesOf(seq)
  if (dashes.length !== items.length) throw new CannotSplice('items without a dash')
  const indent = columnOf(source.text, dashes[0] as number)
  const ends = items.map((item, index) =>
    lineEnd(source.text, item?.range ? Math.max(endOf(item), (dashes[index] as number) + 1) : (dashes[index] as number) + 1),
  )
  for (const dash of dashes) if (source.text.slice(lineStart(source.text, dash), dash).trim() !== '') throw new CannotSplice('nested dashes')
  const begin = commentsAbove(source.text, lineStart(source.text, dashes[0] as number))
  const matches = matchLists(current, wanted)
  const stays = new Map(matches.map(([from, to]) => [to, from]))
  const removed = new Set(items.keys())
  let at = begin
  wanted.forEach((value, index) => {
    const old = stays.get(index)
    if (old === undefined) {
      const text = ' '.repeat(indent) + '- ' + blockText(value, indent + 2) + '\n'
      list.push({ from: at, to: at, text: newlineBefore(source.text, at) + text })
      return
    }
    removed.delete(old)
    at = ends[old] as number
    const item = items[old] ?? null
    const found = inside(source, item, current[old] as Json, value)
    if (found) list.push(...found)
    else {
      const dash = dashes[old] as number
      const end = item?.range ? Math.max(endOf(item), dash + 1) : dash + 1
      const tail = source.text[end - 1] === '\n' ? '\n' : ''
      list.push({ from: dash + 1, to: end, text: ' ' + blockText(value, indent + 2) + tail })
    }
  })
  for (const index of removed) {
    const line = lineStart(source.text, dashes[index] as number)
    const above = commentsAbove(source.text, line)
    const floor = index > 0 ? (ends[index - 1] as number) : 0
    list.push({ from: Math.max(above, floor), to: ends[index] as number, text: '' })
  }
  return list
}

function flowSeq(source: Source, seq: YAMLSeq, current: Json[], wanted: Json[]): Splice[] {
  const items = seq.items as (Node | Pair)[]
  const matches = new Map(matchLists(current, wanted).map(([from, to]) => [to, from]))
  const texts: string[] = []
  const list: Splice[] = []
  wanted.forEach((value, index) => {
    const old = matches.get(index)
    const item = old === undefined ? undefined : items[old]
    if (old === undefined || !item || !('range' in item) || !item.range) {
      texts.push(flowText(value))
      return
    }
    const own = inside(source, item, current[old] as Json, value) ?? [{ from: item.range[0], to: endOf(item), text: flowText(value) }]
    list.push(...own)
    texts.push(cut(source, item.range[0], endOf(item), own))
  })
  if (wanted.length === items.length && matches.size === items.length && [...matches].every(([to, from]) => to === from)) return list
  return [joined(source, seq, '[', texts, ']')]
}

/** A flow collection made of its parts, which loses nothing if there are no comments inside. */
function joined(source: Source, node: YAMLMap | YAMLSeq, open: string, texts: string[], close: string): Splice {
  const [from, to] = node.range as [number, number, number]
  if (/(^|\s)#/m.test(source.text.slice(from, to))) throw new CannotSplice('a comment inside a flow collection')
  const padding = open === '{' && source.text[from + 1] === ' ' && texts.length > 0 ? ' ' : ''
  return { from, to, text: open + padding + texts.join(', ') + padding + close }
}

function cut(source: Source, from: number, to: number, own: readonly Splice[]): string {
  return applySplices(
    source.text.slice(from, to),
    own.map((splice) => ({ ...splice, from: splice.from - from, to: splice.to - from })),
  )
}
