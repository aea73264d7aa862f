import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Obj } from '@/api'
import { valueOf } from '@/components/yaml/patch/patch'
import { lineDiff } from './lineDiff'
import { SOURCE, editableOf, markOf, plainText, sourceAnnotations, textOf } from './source'

const object = (spec: unknown, annotations?: Record<string, string>): Obj =>
  ({ apiVersion: 'plum.dev/v1', kind: 'Workflow', metadata: { name: 'w', namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: '', annotations }, spec }) as Obj

describe('source', () => {
  const spec = { nodes: [{ name: 'a', taskRef: 't' }, { name: 'b', taskRef: 't', dependsOn: [{ node: 'a' }], when: 'nodes.a.output.x > 0', timeout: '5s', payload: { on: true, text: '${{ params.x }}' } }] }
  it('is written for people', () => {
    expect(plainText(editableOf(object(spec)))).toBe(
      'apiVersion: plum.dev/v1\nkind: Workflow\nmetadata: {name: w, namespace: default}\nspec:\n  nodes:\n    - {name: a, taskRef: t}\n    - name: b\n      taskRef: t\n      dependsOn: [a]\n      when: nodes.a.output.x > 0\n      timeout: 5s\n      payload: {on: true, text: "${{ params.x }}"}\n',
    )
  })
  it('comes back with its comments, also when somebody else changed the definition', () => {
    const text = '# Mine.\napiVersion: plum.dev/v1\nkind: Workflow\nmetadata: {name: w, namespace: default}\nspec:\n  nodes: [{name: a, taskRef: t}] # one\n'
    const stored = { nodes: [{ name: 'a', taskRef: 't' }] }
    const annotations = sourceAnnotations(text, stored)
    expect(textOf(object(stored, annotations))).toBe(text)
    const other = textOf(object({ nodes: [{ name: 'a', taskRef: 'other' }] }, annotations))
    expect(other).toContain('# Mine.')
    expect(other).toContain('{name: a, taskRef: other}')
    expect(other).toContain('# one')
    expect(sourceAnnotations('a: 1\n', {})).toEqual({})
    expect(textOf(object(stored, { [SOURCE]: 'a: [', 'x/y': 'z' }))).toContain('annotations: {x/y: z}')
    expect(markOf({ a: 1, b: [2] })).toBe(markOf({ b: [2], a: 1 }))
  })
  it('means what it was made of', () => {
    const json = fc.jsonValue({ maxDepth: 4 })
    fc.assert(fc.property(fc.dictionary(fc.string({ maxLength: 8 }), json, { minKeys: 1, noNullPrototype: true }), (value) => {
      const plain = JSON.parse(JSON.stringify(value))
      fc.pre(!Object.keys(plain).includes('__proto__') && !JSON.stringify(plain).includes('__proto__'))
      expect(valueOf(plainText(plain))).toEqual(plain)
    }), { numRuns: 150 })
  })
})

describe('lineDiff', () => {
  it('gives both texts back', () => {
    const lines = fc.array(fc.constantFrom('a', 'b', 'c', ''), { maxLength: 14 })
    fc.assert(fc.property(lines, lines, (a, b) => {
      const before = a.map((line) => `${line}\n`).join('')
      const after = b.map((line) => `${line}\n`).join('')
      fc.pre(before !== after)
      const diff = lineDiff(before, after, 1000)
      expect(diff.filter((line) => line.kind !== 'come').map((line) => `${line.text}\n`).join('')).toBe(before)
      expect(diff.filter((line) => line.kind !== 'gone').map((line) => `${line.text}\n`).join('')).toBe(after)
    }), { numRuns: 250 })
  })
  it('shows little of what stays', () => {
    const before = Array.from({ length: 50 }, (_, index) => `l${index}`).join('\n')
    expect(lineDiff(before, before.replace('l20', 'x')).map((line) => line.kind)).toEqual(['skip', 'same', 'same', 'same', 'gone', 'come', 'same', 'same', 'same', 'skip'])
  })
})

