import fc from 'fast-check'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

import { isEqual, matchLists } from '../json'
import type { Json } from '../json'
import { patchYaml, valueOf } from './patch'

const SAMPLE = `# The survey of a day.
apiVersion: plum.dev/v1
kind: Workflow   # a graph
metadata: {name: survey, labels: {team: "sea"}}
spec:
  description: >-
    Looks at every zone
    once a day.
  params: [{name: zone, type: integer, default: 4}]   # who asks says which
  nodes:
    # First a look.
    - {name: scan, taskRef: builtin.echo, payload: {contacts: "\${{ params.zone - 4 }}"}}

    # Then a decision.
    - name: found
      type: branch          # two ways
      dependsOn: [scan]
      condition: 'nodes.scan.output.contacts > 0'
    - name: note
      type: script
      config:
        code: |
          print("hello")

          # not a comment of the workflow
          print("bye")
        interpreter: python3
      dependsOn:
        - {node: found, on: "true"}   # only then
        - scan
  outputs:
    contacts: \${{ nodes.scan.output.contacts }}
# The end.
`

type Map = Record<string, Json>

function change(text: string, edit: (value: Map) => void): string {
  const value = structuredClone(valueOf(text)) as Map
  edit(value)
  const result = patchYaml(text, value)
  expect(valueOf(result)).toEqual(value)
  return result
}

function nodesOf(value: Map): Map[] {
  return (value.spec as Map).nodes as Map[]
}

/** Lines that are only in one of two texts. */
function lineDifference(before: string, after: string): { gone: string[]; come: string[] } {
  const a = before.split('\n')
  const b = after.split('\n')
  return { gone: a.filter((line) => !b.includes(line)), come: b.filter((line) => !a.includes(line)) }
}

describe('patchYaml', () => {
  it('writes what grows beyond a line in lines, and leaves what stays small or has a comment', () => {
    const empty = 'kind: Workflow\nmetadata: {name: w}\nspec: {nodes: []}\n'
    const node = { name: 'scan', taskRef: 'builtin.echo', payload: { contacts: '${{ params.zone }}', depth: 4 } }
    const one = change(empty, (value) => nodesOf(value).push({ name: 'a', taskRef: 'builtin.echo' }))
    expect(one).toBe('kind: Workflow\nmetadata: {name: w}\nspec: {nodes: [{name: a, taskRef: builtin.echo}]}\n')
    const two = change(one, (value) => nodesOf(value).push(node))
    expect(two).toBe(
      'kind: Workflow\nmetadata: {name: w}\nspec:\n  nodes:\n    - {name: a, taskRef: builtin.echo}\n    - name: scan\n      taskRef: builtin.echo\n      payload: {contacts: "${{ params.zone }}", depth: 4}\n',
    )
    const told = change(empty.replace('[]}', '[]} # none yet'), (value) => nodesOf(value).push(node))
    expect(told).toContain('spec: {nodes: [{name: scan')
    expect(told).toContain('# none yet')
  })

  it('leaves a text alone whose value is the wanted one', () => {
    expect(patchYaml(SAMPLE, valueOf(SAMPLE))).toBe(SAMPLE)
  })

  it('changes one scalar and nothing else, beside its comment', () => {
    const result = change(SAMPLE, (value) => ((nodesOf(value)[1] as Map).type = 'condition'))
    expect(lineDifference(SAMPLE, result)).toEqual({
      gone: ['      type: branch          # two ways'],
      come: ['      type: condition          # two ways'],
    })
  })

  it('adds a field to a node on one line', () => {
    const result = change(SAMPLE, (value) => ((nodesOf(value)[0] as Map).timeout = '5s'))
    expect(result).toContain('payload: {contacts: "${{ params.zone - 4 }}"}, timeout: 5s}')
  })

  it('adds a field to a node on several lines', () => {
    const result = change(SAMPLE, (value) => ((nodesOf(value)[1] as Map).position = { x: 10, y: 20 }))
    expect(lineDifference(SAMPLE, result)).toEqual({ gone: [], come: ['      position: {x: 10, y: 20}'] })
  })

  it('removes a node with the comment above it, and keeps all other comments', () => {
    const result = change(SAMPLE, (value) => nodesOf(value).splice(1, 1))
    expect(result).not.toContain('Then a decision')
    for (const comment of ['# First a look.', '# who asks', '# only then', '# a graph', '# The end.', '# not a comment'])
      expect(result).toContain(comment)
  })

  it('adds a node after another one', () => {
    const result = change(SAMPLE, (value) =>
      nodesOf(value).splice(1, 0, { name: 'new', type: 'wait', dependsOn: ['scan'], wait: { approval: { message: 'go on?' } } }),
    )
    expect(lineDifference(SAMPLE, result).gone).toEqual([])
    expect(result).toContain('    - name: new\n      type: wait\n')
  })

  it('changes a text of several lines', () => {
    const result = change(SAMPLE, (value) => (((nodesOf(value)[2] as Map).config as Map).code = 'a\n\nb\n'))
    expect(result).toContain('        code: |\n          a\n\n          b\n        interpreter: python3')
  })

  it('adds an edge to a list with comments in it', () => {
    const result = change(SAMPLE, (value) => ((nodesOf(value)[2] as Map).dependsOn as Json[]).push('note2'))
    expect(result).toContain('        - {node: found, on: "true"}   # only then\n        - scan\n        - note2\n')
  })

  it('removes all edges of a node', () => {
    const result = change(SAMPLE, (value) => delete (nodesOf(value)[2] as Map).dependsOn)
    expect(result).toContain('        interpreter: python3\n  outputs:')
  })

  it('makes the first key of a node another one', () => {
    const result = change(SAMPLE, (value) => {
      const node = nodesOf(value)[1] as Map
      delete node.name
      node.title = 'x'
    })
    expect(result).toContain('    - type: branch          # two ways')
  })

  it('keeps comments when only a rewrite can do it', () => {
    const text = 'a: &x {b: 1} # one\nc: *x # two\n# three\nd: 1\n'
    const result = change(text, (value) => (value.c = { b: 2 }))
    for (const comment of ['# one', '# two', '# three']) expect(result).toContain(comment)
  })

  it('fills an empty text', () => {
    expect(valueOf(patchYaml('', { a: [1, { b: 'x' }] }))).toEqual({ a: [1, { b: 'x' }] })
    expect(patchYaml('# only words\n', { a: 1 })).toBe('# only words\na: 1\n')
  })

  it('leaves every example as it is, and changes its nodes only where they change', () => {
    const folder = join(__dirname, '../../../../../manifests')
    let seen = 0
    for (const name of readdirSync(folder)) {
      if (!/^[67]\d-/.test(name)) continue
      for (const file of readdirSync(join(folder, name)).filter((one) => one.endsWith('.yaml'))) {
        for (const text of readFileSync(join(folder, name, file), 'utf8').split(/^---\n/m)) {
          const value = valueOf(text) as Map | null
          if (value?.kind !== 'Workflow') continue
          expect(patchYaml(text, value)).toBe(text)
          const result = change(text, (all) => ((nodesOf(all)[0] as Map).displayName = 'Changed'))
          expect(lineDifference(text, result).gone.length).toBeLessThanOrEqual(1)
          seen += 1
        }
      }
    }
    expect(seen).toBeGreaterThan(5)
  })

  const json = fc.letrec<{ value: Json }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      fc.oneof(fc.string({ maxLength: 12 }), fc.constantFrom('a\nb\n', 'x: y', '# z', '- a', 'true', '1', '', ' p', 'l1\n\n  l3', 'null', '~')),
      fc.oneof(fc.integer(), fc.boolean(), fc.constant(null), fc.double({ noNaN: true, noDefaultInfinity: true })),
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(fc.constantFrom('name', 'node', 'b', 'c', 'on', 'x y', '1', '#k'), tie('value'), { maxKeys: 5, noNullPrototype: true }),
    ),
  })).value as fc.Arbitrary<Json>

  it('gives any text any value', () => {
    fc.assert(
      fc.property(json, json, json, (first, second, third) => {
        const one = patchYaml('# head\n', { spec: first, tail: 1 })
        const two = patchYaml(one, { spec: second, tail: 1 })
        const three = patchYaml(two, { spec: third, more: first })
        expect(isEqual(valueOf(one), { spec: first, tail: 1 })).toBe(true)
        expect(isEqual(valueOf(two), { spec: second, tail: 1 })).toBe(true)
        expect(isEqual(valueOf(three), { spec: third, more: first })).toBe(true)
        expect(three.startsWith('# head\n')).toBe(true)
      }),
      { numRuns: 150 },
    )
  })

  it('keeps every comment of nodes that stay, whatever is done to the others', () => {
    const node = fc.record({ style: fc.boolean(), edges: fc.integer({ min: 0, max: 2 }) })
    fc.assert(
      fc.property(fc.array(node, { minLength: 1, maxLength: 7 }), fc.array(fc.nat(9), { maxLength: 6 }), (nodes, steps) => {
        let text = 'spec:\n  nodes:\n'
        nodes.forEach((one, index) => {
          text += `    # above ${index}\n`
          text += one.style
            ? `    - {name: n${index}, taskRef: "t"} # beside ${index}\n`
            : `    - name: n${index} # beside ${index}\n      # within ${index}\n      taskRef: t\n      dependsOn: [${Array.from({ length: one.edges }, (_, at) => `n${at}`).join(', ')}]\n`
        })
        for (const step of steps) {
          text = change(text, (value) => {
            const list = nodesOf(value)
            const at = step % Math.max(list.length, 1)
            if (step < 3 && list.length > 1) list.splice(at, 1)
            else if (step < 6) list.splice(at, 0, { name: `added${step}${list.length}`, type: 'wait' })
            else if (list[at]) list[at].description = `text ${step}`
          })
          for (const one of nodesOf(valueOf(text) as Map)) {
            const number = /^n(\d+)$/.exec(String(one.name))?.[1]
            if (number === undefined) continue
            for (const place of ['above', 'beside']) expect(text.split(`# ${place} ${number}\n`).length).toBe(2)
          }
        }
      }),
      { numRuns: 70 },
    )
  })
})

describe('matchLists', () => {
  it('matches in rising order, each item once', () => {
    const list = fc.array(fc.constantFrom<Json>('a', 'b', { name: 'x' }, { name: 'y', z: 1 }, { node: 'x' }, 3), { maxLength: 8 })
    fc.assert(
      fc.property(list, list, (a, b) => {
        const found = matchLists(a, b)
        for (let index = 1; index < found.length; index++) {
          expect((found[index] as [number, number])[0]).toBeGreaterThan((found[index - 1] as [number, number])[0])
          expect((found[index] as [number, number])[1]).toBeGreaterThan((found[index - 1] as [number, number])[1])
        }
      }),
    )
  })
})
