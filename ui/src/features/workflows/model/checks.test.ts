import { parseDocument } from 'yaml'
import { describe, expect, it } from 'vitest'

import { checkDefinition, findCycle, hasType, isDuration } from './checks'
import type { Json } from '@/components/yaml/json'
import { MAIN } from './definition'
import { fieldOf, lineOf, nodeOf, pathOf, placeOf } from './locate'
import { expressionsIn, nodesIn, renamedInValue, unbalanced } from './references'

function wrong(spec: Json): string[] {
  return checkDefinition(spec).map((problem) => `${problem.field} ${problem.code}`)
}

describe('checkDefinition', () => {
  it('finds nothing wrong with what is right', () => {
    expect(
      wrong({
        params: [{ name: 'zone', type: 'integer', default: 4 }],
        nodes: [
          { name: 'scan', taskRef: 'scan', payload: { zone: '${{ params.zone - 4 }}', raw: '$${{ nodes.x', other: '{{ mustache }}' } },
          { name: 'found', type: 'branch', dependsOn: ['scan'], cases: [{ name: 'many', condition: 'nodes.scan.output.n > 5' }], defaultCase: 'few' },
          { name: 'a', taskRef: 't', dependsOn: [{ node: 'found', on: 'few' }] },
          { name: 'all', type: 'map', items: '${{ nodes.scan.output.list }}', dependsOn: ['scan'], body: [{ name: 'x', taskRef: 't', payload: { v: '${{ item }} ${{ nodes.scan.output.v }}' } }] },
        ],
        outputs: { v: '${{ nodes.a.output }}' },
        onFailure: { nodes: [{ name: 'tell', taskRef: 'builtin.echo', payload: { v: '${{ nodes.scan.error }}' } }] },
      }),
    ).toEqual([])
  })

  it('names the place of everything that is wrong', () => {
    expect(
      wrong({
        timeout: 'soon',
        params: [{ name: 'a', type: 'integer', default: 'x' }, { name: 'a' }, { name: '1' }],
        nodes: [
          { name: 'a', type: 'task', count: 3 },
          { name: 'a', taskRef: 'builtin.nothing', timeout: '5 minutes', dependsOn: ['zz', 'b'] },
          { name: 'b', type: 'branch', condition: 'nodes.later.output.x > (1', compare: { field: 'x', operator: '==' } },
          { name: 'later', type: 'wait', dependsOn: [{ node: 'b', on: 'perhaps' }], retry: { limit: 1 }, wait: { duration: 'x', approval: {} } },
          { name: 'l', type: 'loop', count: 1, until: 'true' },
          { name: 'm', type: 'map', triggerRule: 'sometimes', payload: { x: '${{ nodes.m.output' } },
          { type: 'dance' },
        ],
        outputs: { x: '${{ nodes.gone.output }}' },
      }).sort(),
    ).toEqual(
      [
        'spec.timeout duration', 'spec.params[0].default paramDefault', 'spec.params[1].name paramTwice', 'spec.params[2].name paramName',
        'spec.nodes[0].count fieldNotOfType', 'spec.nodes[0].taskRef taskRefMissing',
        'spec.nodes[1].name nameTwice', 'spec.nodes[1].taskRef builtinUnknown', 'spec.nodes[1].timeout duration', 'spec.nodes[1].dependsOn[0].node edgeUnknown',
        'spec.nodes[2] conditionOne', 'spec.nodes[2].condition unbalanced', 'spec.nodes[2].condition nodeNotBefore',
        'spec.nodes[3].dependsOn[0].on edgeOutcome', 'spec.nodes[3].retry retryNotHere', 'spec.nodes[3].wait waitOne', 'spec.nodes[3].wait.duration duration',
        'spec.nodes[4] loopOne', 'spec.nodes[4].body bodyMissing',
        'spec.nodes[5].triggerRule ruleUnknown', 'spec.nodes[5].items itemsMissing', 'spec.nodes[5].body bodyMissing', 'spec.nodes[5].payload.x notClosed',
        'spec.nodes[6].name nameMissing', 'spec.nodes[6].type typeUnknown', 'spec.nodes[6].taskRef taskRefMissing',
        'spec.outputs.x nodeUnknown',
      ].sort(),
    )
  })

  it('lets a draft lack things, and finds cycles and nodes that never run', () => {
    expect(wrong({ state: 'Draft', nodes: [{ name: 'a' }] })).toEqual([])
    expect(wrong({ nodes: [{ name: 'a', taskRef: 't', dependsOn: ['b'] }, { name: 'b', taskRef: 't', dependsOn: ['a'] }] })).toEqual(['spec.nodes cycle'])
    expect(findCycle([{ name: 'a', dependsOn: ['b'] }, { name: 'b', dependsOn: ['a'] }])).toEqual(['a', 'b', 'a'])
    const both = [{ node: 'b', on: 'true' }, { node: 'b', on: 'false' }]
    expect(wrong({ nodes: [{ name: 'b', type: 'branch', condition: 'true' }, { name: 'c', taskRef: 't', triggerRule: 'all_success', dependsOn: both }] })).toEqual(['spec.nodes[1].dependsOn neverRuns'])
  })

  it('stays quick for 2,000 nodes', () => {
    const nodes = Array.from({ length: 2000 }, (_, index) => ({ name: `n${index}`, taskRef: 't', ...(index ? { dependsOn: [`n${index - 1}`], payload: { x: '${{ nodes.n0.output }}' } } : {}) }))
    expect(wrong({ nodes })).toEqual([])
  })

  it('survives any nonsense', () => {
    for (const nonsense of [null, 3, [], { nodes: 3 }, { nodes: [1, null, { name: 4 }, { name: 'x', dependsOn: 5, body: 'y', cases: [null], wait: [] }] }, { params: { a: 1 } }])
      expect(() => checkDefinition(nonsense as Json)).not.toThrow()
  })
})

describe('references', () => {
  const known = new Set(['scan', 'find-all', 'a'])
  it('finds what an expression reads', () => {
    expect(nodesIn('nodes.scan.output.x + steps["find-all"].n - nodes.find-all.y - nodes.a-1 + "nodes.text" + x.nodes.b', known)).toEqual(['scan', 'find-all', 'find-all', 'a'])
    expect(expressionsIn('a ${{ {"x": "}}"}.x }} b {{params.y}} {{ other }} $${{ z }}').map((one) => one.closed)).toEqual([true, true])
    expect(expressionsIn('${{ open')[0]?.closed).toBe(false)
  })
  it('finds brackets that do not fit', () => {
    expect(unbalanced('a(b[c] + "]")')).toBeNull()
    expect(unbalanced('a(b]')).toBe(']')
    expect(unbalanced('a("b)')).toBe('"')
  })
  it('renames only names', () => {
    expect(renamedInValue({ x: ['${{ nodes.a.b + x.nodes.a + "nodes.a" }}', 'nodes.a'] }, 'a', 'z')).toEqual({ x: ['${{ nodes.z.b + x.nodes.a + "nodes.a" }}', 'nodes.a'] })
  })
})

describe('locate', () => {
  const text = 'kind: Workflow\nspec:\n  nodes:\n    - {name: scan, type: task}\n    - name: again\n      type: loop\n      body:\n        nodes:\n          - name: sweep\n            payload: {zone: 4}\n'
  const document = parseDocument(text)
  const spec = (document.toJS() as { spec: Json }).spec

  it('finds fields in the text', () => {
    const place = placeOf(document, 'spec.nodes[1].body.nodes[0].payload.zone')
    expect(text.slice(place.from, place.to)).toBe('4')
    expect(lineOf(text, place.from)).toEqual({ line: 10, column: 29 })
    expect(lineOf(text, placeOf(document, 'spec.nodes[1].wait.approval').from).line).toBe(5)
    expect(lineOf(text, 0)).toEqual({ line: 1, column: 1 })
    expect(pathOf('metadata.labels[a.b/c].x[3]')).toEqual(['metadata', 'labels', 'a.b/c', 'x', 3])
  })

  it('finds the node that a field is about, and its field', () => {
    expect(nodeOf(spec, 'spec.nodes[1].body.nodes[0].payload.zone')).toEqual({ scope: { part: 'main', bodies: ['again'] }, node: 'sweep', rest: 'payload.zone' })
    expect(nodeOf(spec, 'spec.nodes[0].type')).toEqual({ scope: MAIN, node: 'scan', rest: 'type' })
    expect(nodeOf(spec, 'spec.timeout')).toBeNull()
    expect(fieldOf(spec, { part: 'main', bodies: ['again'] }, 'sweep')).toBe('spec.nodes[1].body.nodes[0]')
  })
})

describe('values', () => {
  it('knows durations and types', () => {
    expect(['1m30s', '500ms', '1.5h'].every(isDuration)).toBe(true)
    expect(['5', '5 m', '', 'm'].some(isDuration)).toBe(false)
    expect(hasType(true, 'number')).toBe(false)
    expect(hasType(1.5, 'integer')).toBe(false)
  })
})
