/** A whole document anew, through the document model: comments stay, spacing may change. */
import { Document, isAlias, isMap, isScalar, isSeq, parseDocument } from 'yaml'
import type { Node, Pair } from 'yaml'
import { isEqual, isObject, matchLists } from '../json'
import type { Json } from '../json'

/** The value of a text. Throws the first syntax error. */
export function valueOf(text: string): Json {
  const document = parseDocument(text, { logLevel: 'silent', merge: true })
  const error = document.errors[0]
  if (error) throw error
  return (document.toJS({ maxAliasCount: 100 }) ?? null) as Json
}

/** The text with the wanted value, written from its nodes. */
export function rewritten(text: string, wanted: Json): string {
  const document = parseDocument(text, { logLevel: 'silent', merge: true })
  document.contents = merged(document, document.contents, wanted) as never
  const result = document.toString({ lineWidth: 0 })
  try {
    if (isEqual(valueOf(result), wanted)) return result
  } catch {
    // Written plainly below.
  }
  return new Document(wanted, { aliasDuplicateObjects: false } as never).toString({ lineWidth: 0 })
}

function merged(document: Document, node: Node | null, wanted: Json): Node {
  const current = node ? ((node.toJS(document as Document.Parsed) ?? null) as Json) : null
  if (node && isEqual(current, wanted) && !isAlias(node)) return node
  if (isMap(node) && isObject(wanted) && !node.items.some((pair) => !isScalar(pair.key) || pair.key.value === '<<')) {
    const pairs = node.items as Pair<{ value: unknown } & Node, Node | null>[]
    node.items = pairs.filter((pair) => String(pair.key.value) in wanted)
    for (const [key, value] of Object.entries(wanted)) {
      const pair = node.items.find((one) => String((one.key as { value: unknown }).value) === key)
      if (pair) pair.value = merged(document, pair.value as Node | null, value)
      else node.items.push(document.createPair(key, value))
    }
    return node
  }
  if (isSeq(node) && Array.isArray(wanted) && Array.isArray(current)) {
    const stays = new Map(matchLists(current, wanted).map(([from, to]) => [to, from]))
    const items = node.items as (Node | null)[]
    node.items = wanted.map((value, index) => {
      const old = stays.get(index)
      return old === undefined ? document.createNode(value) : merged(document, items[old] ?? null, value)
    })
    return node
  }
  const made = document.createNode(wanted) as Node
  if (node?.comment) made.comment = node.comment
  if (node?.commentBefore) made.commentBefore = node.commentBefore
  return made
}
