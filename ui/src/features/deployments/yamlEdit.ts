/**
 * Small changes to a YAML text that leave everything else as it was written: comments, order, quotes, fields nobody knows.
 *
 *   text --open--> Document --setValue, setItems--> Document --String--> text
 */

import { Document, isMap, isNode, isScalar, isSeq, parseDocument } from 'yaml'
import type { YAMLMap, YAMLSeq } from 'yaml'

export interface Problem {
  message: string
  /** From 1; undefined where the whole text is meant. */
  line?: number
  column?: number
}

export interface Opened {
  doc: Document
  /** Plain values; undefined while the text cannot be read. */
  value: Record<string, unknown> | undefined
  problems: Problem[]
}

/** Read a text. What cannot be read is told with its place, and nothing is written over it. */
export function open(text: string): Opened {
  const doc = parseDocument(text, { prettyErrors: true, keepSourceTokens: false })
  const problems = doc.errors.map((error): Problem => {
    const place = error.linePos?.[0]
    return {
      message: error.message.split('\n')[0]?.replace(/ at line \d+, column \d+:?$/, '') ?? error.code,
      ...(place ? { line: place.line, column: place.col } : {}),
    }
  })
  if (problems.length > 0) return { doc: doc as unknown as Document, value: undefined, problems }
  const value: unknown = doc.toJS()
  if (value === null || value === undefined) return { doc: new Document({}), value: {}, problems: [] }
  if (typeof value !== 'object' || Array.isArray(value)) {
    return {
      doc: doc as unknown as Document,
      value: undefined,
      problems: [{ message: 'the document is not an object', line: 1, column: 1 }],
    }
  }
  return { doc: doc as unknown as Document, value: value as Record<string, unknown>, problems: [] }
}

/** The text of a document, indented as the text it came from. */
export function print(doc: Document, like: string): string {
  return doc.toString({
    lineWidth: 0,
    indentSeq: /^( *)[\w"'.-]+:[ \t]*(?:#.*)?\n\1 +- /m.test(like),
    flowCollectionPadding: /: *[{[] \S/.test(like),
  })
}

export type Path = readonly (string | number)[]

/** Set a value; undefined, and empty lists and maps, remove it together with the maps around it that become empty. */
export function setValue(doc: Document, path: Path, value: unknown): void {
  if (isEmpty(value)) {
    remove(doc, path)
    return
  }
  for (let depth = 1; depth < path.length; depth += 1) {
    const above = path.slice(0, depth)
    const node = doc.getIn(above, true)
    if (!isMap(node) && !isSeq(node)) doc.setIn(above, doc.createNode(typeof path[depth] === 'number' ? [] : {}))
    // `{}` as it was written in flow style would put everything into one line.
    const made = doc.getIn(above, true)
    if (isMap(made) && made.items.length === 0) made.flow = false
  }
  const known = doc.getIn(path, true)
  if (isScalar(known) && (typeof value !== 'object' || value === null)) {
    // Quotes that were there stay only where the kind of value stays, so that 8080 does not become a text.
    if (typeof known.value !== typeof value) delete known.type
    known.value = value
    delete known.source
  } else doc.setIn(path, doc.createNode(value))
}

/**
 * Make a list of maps hold these items. An item keeps its node, with comments and fields that are not in `fields`, when it has the
 * same name, or the same place in a list of the same length.
 */
export function setItems(
  doc: Document,
  path: Path,
  key: string,
  fields: readonly string[],
  items: readonly Record<string, unknown>[],
): void {
  const known = doc.getIn(path, true)
  if (items.length === 0) {
    remove(doc, path)
    return
  }
  if (!isSeq(known)) {
    setValue(
      doc,
      path,
      items.map((item) => withoutEmpty(item)),
    )
    return
  }
  const before = known.items.filter(isMap) as YAMLMap[]
  const sameLength = before.length === items.length
  const byName = new Map(before.map((node) => [String(node.get(key)), node]))
  const taken = new Set<YAMLMap>()
  const nodes = items.map((item, at) => {
    const named = byName.get(String(item[key]))
    const placed = sameLength ? before[at] : undefined
    const found = [named, placed].find(
      (node) => node !== undefined && !taken.has(node) && (node === named || !names(items, key).has(String(node.get(key)))),
    )
    if (!found) return doc.createNode(withoutEmpty(item)) as YAMLMap
    taken.add(found)
    for (const field of fields) {
      if (isEmpty(item[field])) found.delete(field)
      else setField(doc, found, field, item[field])
    }
    return found
  })
  ;(known as YAMLSeq).items = nodes
}

function setField(doc: Document, map: YAMLMap, field: string, value: unknown): void {
  const known: unknown = map.get(field, true)
  if (JSON.stringify(plainOf(known)) === JSON.stringify(value)) return
  if (isScalar(known) && typeof known.value === typeof value) known.value = value
  else map.set(field, doc.createNode(value))
}

function names(items: readonly Record<string, unknown>[], key: string): Set<string> {
  return new Set(items.map((item) => String(item[key])))
}

function plainOf(node: unknown): unknown {
  return isScalar(node) ? node.value : isNode(node) ? node.toJSON() : node
}

function remove(doc: Document, path: Path): void {
  if (!doc.hasIn(path)) return
  doc.deleteIn(path)
  for (let depth = path.length - 1; depth > 0; depth -= 1) {
    const above = path.slice(0, depth)
    const node = doc.getIn(above, true)
    if (!isMap(node) || node.items.length > 0 || KEPT.has(above.join('.'))) return
    doc.deleteIn(above)
  }
}

/** Maps that a manifest has even when they are empty. */
const KEPT = new Set(['metadata', 'spec', 'spec.template'])

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true
  if (Array.isArray(value)) return value.length === 0
  return typeof value === 'object' && Object.keys(value).length === 0
}

function withoutEmpty(item: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(item).filter(([, value]) => !isEmpty(value)))
}
