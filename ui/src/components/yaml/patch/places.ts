/** Where the parts of a YAML document stand in its text, and where the lines around them begin and end. */
import { isCollection, isMap, isScalar, isSeq } from 'yaml'
import type { Node, Pair, YAMLSeq } from 'yaml'

/** The text has something that cannot be changed in place. */
export class CannotSplice extends Error {}

export function keyOf(pair: Pair<Node, unknown>): string {
  if (!isScalar(pair.key)) throw new CannotSplice('a key that is no text')
  if (pair.key.value === '<<') throw new CannotSplice('merge')
  return String(pair.key.value)
}

export function startOf(node: Node | null | undefined): number {
  if (!node?.range) throw new CannotSplice('no place')
  return node.range[0]
}

export function colonOf(pair: Pair<Node, Node | null>): number {
  const colon = pair.srcToken?.sep?.find((token) => token.type === 'map-value-ind')
  if (!colon) throw new CannotSplice('no colon')
  return colon.offset
}

export function endOfPair(pair: Pair<Node, Node | null>): number {
  const value = pair.value
  const keyEnd = (pair.key.range as [number, number, number])[1]
  const colon = pair.srcToken?.sep?.find((token) => token.type === 'map-value-ind')
  const least = colon ? colon.offset + 1 : keyEnd
  return value?.range ? Math.max(endOf(value), least) : least
}

/** Where the text of a value ends. The ranges of block collections go on over what follows them. */
export function endOf(node: Node): number {
  const range = node.range as [number, number, number]
  if (isMap(node) && !node.flow) {
    const last = node.items[node.items.length - 1] as Pair<Node, Node | null> | undefined
    return last ? endOfPair(last) : range[1]
  }
  if (isSeq(node) && !node.flow) {
    const last = node.items[node.items.length - 1] as Node | null | undefined
    const dash = dashesOf(node).pop()
    const least = dash === undefined ? range[0] : dash + 1
    return last?.range ? Math.max(endOf(last), least) : least
  }
  return range[1]
}

export function dashesOf(seq: YAMLSeq): number[] {
  const token = seq.srcToken
  if (!token || token.type !== 'block-seq') throw new CannotSplice('no dashes')
  const found: number[] = []
  for (const item of token.items) {
    const dash = item.start.find((part) => part.type === 'seq-item-ind')
    if (dash) found.push(dash.offset)
  }
  return found
}

export function isFlow(node: Node): boolean {
  return isCollection(node) && node.flow === true
}

export function lineStart(text: string, at: number): number {
  return text.lastIndexOf('\n', at - 1) + 1
}

/** The start of the line after the one that ends here. */
export function lineEnd(text: string, at: number): number {
  if (at > 0 && text[at - 1] === '\n') return at
  const found = text.indexOf('\n', at)
  return found < 0 ? text.length : found + 1
}

export function newlineBefore(text: string, at: number): string {
  return at > 0 && text[at - 1] !== '\n' ? '\n' : ''
}

export function columnOf(text: string, at: number): number {
  return at - lineStart(text, at)
}

/** Comment lines directly above a line that are indented like it belong to it. */
export function commentsAbove(text: string, line: number): number {
  const indent = /^[ ]*/.exec(text.slice(line))?.[0].length ?? 0
  let at = line
  while (at > 0) {
    const before = lineStart(text, at - 1)
    const content = text.slice(before, at - 1)
    if (!content.trimStart().startsWith('#') || content.length - content.trimStart().length !== indent) break
    at = before
  }
  return at
}

