import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import type { Json } from '@/components/yaml/json'
import { addNode, blankNode, changeType, connect, disconnect, forgetPlaces, freeName, insertBetween, moveNodes, pasteNodes, removeNodes, renameNode, setOutcome } from './commands'
import type { Spec } from './commands'
import { checkDefinition } from './checks'
import { MAIN, NODE_TYPES, ancestorsOf, edgesOf, graphAt, nameOf, outcomesOf, typeOf, whatComesBefore } from './definition'
import type { NodeType, Scope } from './definition'
import { TextHistory } from './history'
import { patchYaml, valueOf } from '@/components/yaml/patch/patch'

const SPEC: Spec = {
  nodes: [
    { name: 'scan', taskRef: 'builtin.echo' },
    { name: 'found', type: 'branch', dependsOn: ['scan'], condition: 'nodes.scan.output.contacts > 0' },
    { name: 'photo', taskRef: 'builtin.echo', payload: { of: 'zone ${{ nodes.scan.output.zone }}!' }, dependsOn: [{ node: 'found', on: 'true' }] },
    { name: 'again', type: 'loop', count: 2, dependsOn: ['found'], body: [{ name: 'sweep', taskRef: 'builtin.echo', payload: { z: '${{ steps["scan"].output.zone }}' } }] },
  ],
  outputs: { zone: '${{ nodes.scan.output.zone }}', text: 'nodes.scan is no expression' },
  finally: { nodes: [{ name: 'close', taskRef: 'builtin.echo', when: 'nodes.scan.phase == "Succeeded"' }] },
}
const BODY: Scope = { part: 'main', bodies: ['again'] }

describe('commands', () => {
  it('adds, connects, disconnects and removes', () => {
    let spec = addNode(SPEC, MAIN, blankNode('http', 'call'), 'scan')
    expect(graphAt(spec, MAIN).map(nameOf)).toEqual(['scan', 'call', 'found', 'photo', 'again'])
    spec = connect(spec, MAIN, 'photo', 'call')
    expect(connect(spec, MAIN, 'photo', 'call')).toEqual(spec)
    expect(graphAt(spec, MAIN)[1]?.dependsOn).toEqual(['photo'])
    spec = disconnect(spec, MAIN, 'photo', 'call')
    expect('dependsOn' in (graphAt(spec, MAIN)[1] ?? {})).toBe(false)
    spec = removeNodes(spec, MAIN, new Set(['found']))
    expect(graphAt(spec, MAIN).flatMap(edgesOf)).toEqual([])
  })

  it('changes the graph of a body', () => {
    const spec = addNode(SPEC, BODY, blankNode('task', 'more'), 'sweep')
    expect(graphAt(spec, BODY).map(nameOf)).toEqual(['sweep', 'more'])
    expect(Array.isArray(graphAt(spec, MAIN)[3]?.body)).toBe(true)
    expect(graphAt(SPEC, BODY)).toHaveLength(1)
  })

  it('renames in edges and in every expression that can see the node', () => {
    const text = JSON.stringify(renameNode(SPEC, MAIN, 'scan', 'look-around'))
    expect(text).not.toMatch(/nodes\.scan\.|"scan"\]/)
    expect(text).toContain('nodes.scan is no expression')
    expect(text.match(/look-around/g)).toHaveLength(7)
    expect(renameNode(renameNode(SPEC, MAIN, 'scan', 'look-around'), MAIN, 'look-around', 'scan')).toEqual(SPEC)
  })

  it('gives edges another outcome, and none when it is gone', () => {
    let spec = setOutcome(SPEC, MAIN, 'found', 'photo', 'true', 'false')
    expect(graphAt(spec, MAIN)[2]?.dependsOn).toEqual([{ node: 'found', on: 'false' }])
    spec = changeType(spec, MAIN, 'found', 'task')
    expect(graphAt(spec, MAIN)[1]).toEqual({ name: 'found', taskRef: 'builtin.echo', dependsOn: ['scan'] })
    expect(graphAt(spec, MAIN)[2]?.dependsOn).toEqual(['found'])
  })

  it('puts a node into an edge', () => {
    const spec = insertBetween(SPEC, MAIN, blankNode('wait', 'ask'), 'found', 'photo', 'true')
    expect(graphAt(spec, MAIN).find((node) => nameOf(node) === 'ask')?.dependsOn).toEqual([{ node: 'found', on: 'true' }])
    expect(graphAt(spec, MAIN).find((node) => nameOf(node) === 'photo')?.dependsOn).toEqual(['ask'])
  })

  it('keeps places, and forgets them', () => {
    const spec = moveNodes(SPEC, MAIN, new Map([['scan', { x: 1.4, y: 2.6 }]]))
    expect(graphAt(spec, MAIN)[0]?.position).toEqual({ x: 1, y: 3 })
    expect(forgetPlaces(spec, MAIN)).toEqual(SPEC)
  })

  it('pastes copies under names of their own that refer to each other', () => {
    const copies = graphAt(SPEC, MAIN).slice(0, 3)
    const { spec, names } = pasteNodes(SPEC, MAIN, copies)
    expect(names).toEqual(['scan-2', 'found-2', 'photo-2'])
    const made = graphAt(spec, MAIN).slice(4)
    expect(made[1]).toMatchObject({ dependsOn: ['scan-2'], condition: 'nodes.scan-2.output.contacts > 0' })
    expect(made[2]).toMatchObject({ payload: { of: 'zone ${{ nodes.scan-2.output.zone }}!' }, dependsOn: [{ node: 'found-2', on: 'true' }] })
    expect(pasteNodes({ nodes: [] }, MAIN, copies.slice(2)).spec.nodes).toEqual([{ ...copies[2], dependsOn: undefined }].map(({ dependsOn: _, ...rest }) => rest))
  })

  it('makes new nodes that only lack what nobody can guess', () => {
    for (const type of NODE_TYPES) {
      const codes = checkDefinition({ nodes: [blankNode(type, 'x')] }).map((problem) => problem.code)
      expect(codes, type).toEqual(type === 'subworkflow' ? ['workflowRefMissing'] : type === 'operation' ? ['resourceMissing', 'methodMissing'] : [])
    }
  })

  it('finds free names', () => {
    expect(freeName([{ name: 'a' }, { name: 'a-2' }], 'a')).toBe('a-3')
    expect(freeName([], 'ä b')).toBe('b')
  })
})

/** Anything people do in the editor, by number. */
const step = fc.record({ action: fc.nat(9), a: fc.nat(30), b: fc.nat(30), type: fc.constantFrom(...NODE_TYPES) })
type Step = { action: number; a: number; b: number; type: NodeType }

function act(spec: Spec, { action, a, b, type }: Step): Spec {
  const nodes = graphAt(spec, MAIN)
  const first = nodes.length > 0 ? nameOf(nodes[a % nodes.length] ?? {}) : ''
  const second = nodes.length > 0 ? nameOf(nodes[b % nodes.length] ?? {}) : ''
  if (nodes.length === 0 || action === 0) return addNode(spec, MAIN, blankNode(type, freeName(nodes, type)), first || null)
  switch (action) {
    case 1:
    case 2:
      // As the editor does: an edge that would close a cycle is not offered.
      return first === second || whatComesBefore(nodes)(second, first) ? spec : connect(spec, MAIN, first, second, outcomesOf(nodes[a % nodes.length] ?? {})[b % 3] ?? '')
    case 3: return disconnect(spec, MAIN, first, second)
    case 4: return removeNodes(spec, MAIN, new Set([first]))
    case 5: return renameNode(spec, MAIN, first, freeName(nodes, `n${b}`))
    case 6: return changeType(spec, MAIN, first, type)
    case 7: return pasteNodes(spec, MAIN, nodes.filter((_, index) => index % 2 === a % 2)).spec
    case 8: return moveNodes(spec, MAIN, new Map([[first, { x: a, y: b }]]))
    default: return forgetPlaces(spec, MAIN)
  }
}

const TEXT = '# A workflow.\napiVersion: plum.dev/v1\nkind: Workflow\nspec:   # what it does\n  # All nodes.\n  nodes: []\n'

describe('editing', () => {
  it('never makes a graph wrong, whatever is done', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 14 }), (steps) => {
        let spec: Spec = { nodes: [] }
        for (const one of steps) {
          spec = act(spec, one)
          const wrong = checkDefinition(spec).filter((problem) => !['workflowRefMissing', 'resourceMissing', 'methodMissing', 'empty', 'neverRuns'].includes(problem.code))
          expect(wrong).toEqual([])
        }
      }),
      { numRuns: 60 },
    )
  })

  it('is undone and redone step by step, back to the very text', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 10 }), (steps) => {
        const history = new TextHistory(TEXT)
        const texts = [TEXT]
        for (const [index, one] of steps.entries()) {
          const value = valueOf(history.text) as { [key: string]: Json }
          const text = patchYaml(history.text, { ...value, spec: act(value.spec as Spec, one) })
          if (text === history.text) continue
          history.push(text, index * 5000)
          texts.push(text)
          expect(text).toContain('# A workflow.')
        }
        for (let index = texts.length - 2; index >= 0; index--) expect(history.undo()?.text).toBe(texts[index])
        expect(history.canUndo).toBe(false)
        for (const text of texts.slice(1)) expect(history.redo()?.text).toBe(text)
        expect(history.canRedo).toBe(false)
      }),
      { numRuns: 30 },
    )
  })

  it('undoes a word as a word', () => {
    const history = new TextHistory('a')
    history.push('ab', 0, 'type')
    history.push('abc', 300, 'type')
    history.push('xabc', 600, 'type')
    history.push('xabc!', 5000, 'type')
    expect(history.undo()?.text).toBe('xabc')
    expect(history.undo()?.text).toBe('a')
    expect(history.undo()).toBeNull()
    expect(history.redo()?.text).toBe('xabc')
    history.push('y', 9000)
    expect(history.canRedo).toBe(false)
  })
})

describe('definition', () => {
  it('knows what comes before, also around a cycle', () => {
    const nodes = [{ name: 'a', dependsOn: ['c'] }, { name: 'b', dependsOn: 'a' }, { name: 'c', dependsOn: [{ node: 'b', true: true }] }, { name: 'd', dependsOn: ['c'] }]
    expect([...(ancestorsOf(nodes).get('d') ?? [])].sort()).toEqual(['a', 'b', 'c'])
    expect(whatComesBefore(nodes)('a', 'd')).toBe(true)
    expect(whatComesBefore(nodes)('d', 'a')).toBe(false)
    expect(edgesOf(nodes[2] as never)).toEqual([{ node: 'b', on: 'true' }])
    expect(typeOf({ type: 'nonsense' })).toBe('task')
  })
})
