/**
 * From a field as the server names it to its place: in the text, and in the graph.
 *
 *     "spec.nodes[2].payload.zone" -> path ["spec", "nodes", 2, "payload", "zone"] -> {from, to} and {scope, node: "scan"}
 */
import { isMap, isNode, isScalar, isSeq } from 'yaml'
import type { Document, Node, Pair } from 'yaml'

import { isMap as isObject, nameOf, nodesOf } from './definition'
import type { Part, Scope } from './definition'

/** The steps of a field path. Keys with dots stand in brackets: `labels[a.b/c]`. */
export function pathOf(field: string): (string | number)[] {
  const found: (string | number)[] = []
  for (const match of field.matchAll(/\[(\d+)\]|\[([^\]]*)\]|([^.[\]]+)/g)) found.push(match[1] !== undefined ? Number(match[1]) : (match[2] ?? match[3] ?? ''))
  return found
}

/** Where in the text a field stands; the nearest one above it if it is not there. */
export function placeOf(document: Document, field: string): { from: number; to: number } {
  let node: unknown = document.contents
  let place = { from: 0, to: 0 }
  for (const step of pathOf(field)) {
    if (isMap(node)) {
      const pair = node.items.find((one) => isScalar(one.key) && String(one.key.value) === String(step)) as Pair<Node, Node | null> | undefined
      if (!pair) break
      place = rangeOf(isScalar(pair.value) ? pair.value : pair.key) ?? place
      if (isScalar(pair.value) && pair.value.value === null) place = rangeOf(pair.key) ?? place
      node = pair.value
    } else if (isSeq(node) && typeof step === 'number') {
      const item = node.items[step]
      if (!isNode(item)) break
      place = headOf(item) ?? place
      node = item
    } else break
  }
  return place
}

/** Of a map its first line, of anything else all of it. */
function headOf(node: Node): { from: number; to: number } | null {
  const first = isMap(node) ? (node.items[0] as Pair<Node, Node | null> | undefined) : undefined
  if (!first) return rangeOf(node)
  const from = rangeOf(first.key)
  const to = first.value ? rangeOf(first.value) : null
  return from ? { from: from.from, to: isScalar(first.value) && to ? to.to : from.to } : null
}

function rangeOf(node: Node | null | undefined): { from: number; to: number } | null {
  return node?.range ? { from: node.range[0], to: node.range[1] } : null
}

/** The node of the graph that a field is about, if it is about one. */
export function nodeOf(spec: unknown, field: string): { scope: Scope; node: string; rest: string } | null {
  const steps = pathOf(field)
  if (steps[0] === 'spec') steps.shift()
  if (!isObject(spec)) return null
  let part: Part = 'main'
  let nodes = nodesOf(spec.nodes)
  if (steps[0] === 'onFailure' || steps[0] === 'finally') {
    part = steps.shift() as Part
    nodes = nodesOf(spec[part])
  }
  const bodies: string[] = []
  let found: { scope: Scope; node: string; rest: string } | null = null
  while (steps[0] === 'nodes' && typeof steps[1] === 'number') {
    const node = nodes[steps[1]]
    if (!node) break
    steps.splice(0, 2)
    found = { scope: { part, bodies: [...bodies] }, node: nameOf(node), rest: steps.join('.') }
    if (steps.shift() !== 'body') break
    bodies.push(nameOf(node))
    nodes = nodesOf(node.body)
  }
  return found
}

/** The field of a node: the other way round. */
export function fieldOf(spec: unknown, scope: Scope, node: string): string | null {
  if (!isObject(spec)) return null
  let path = scope.part === 'main' ? 'spec' : `spec.${scope.part}`
  let nodes = scope.part === 'main' ? nodesOf(spec.nodes) : nodesOf(spec[scope.part])
  for (const name of scope.bodies) {
    const index = nodes.findIndex((one) => nameOf(one) === name)
    if (index < 0) return null
    path += `.nodes[${index}].body`
    nodes = nodesOf(nodes[index]?.body)
  }
  const index = nodes.findIndex((one) => nameOf(one) === node)
  return index < 0 ? null : `${path}.nodes[${index}]`
}

/** Line and column of a place, both from 1. */
export function lineOf(text: string, at: number): { line: number; column: number } {
  let line = 1
  let start = 0
  for (let next = text.indexOf('\n'); next >= 0 && next < at; next = text.indexOf('\n', start)) {
    line += 1
    start = next + 1
  }
  return { line, column: at - start + 1 }
}
