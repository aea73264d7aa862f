import { describe, expect, it } from 'vitest'
import { resolver, type KindSchema } from '@/components/yaml/schema'
import { valueOf } from '@/components/yaml/patch/patch'
import { NOTHING_KNOWN, completionsAt, type Known } from './completions'

const DONE = `spec:
  params: [{name: zone}]
  variables: {limit: 5}
  nodes:
    - name: scan
      taskRef: scan
    - name: move
      type: operation
      dependsOn: [scan]
      config:
        resource: radar-1
        method: calibrate
    - name: tell
      type: http
      payload: {count: "\${{ nodes.scan.output.contacts }}"}
`
const schema: KindSchema = {
  root: { type: 'object', properties: { spec: { type: 'object', properties: { keepRuns: { type: 'object', properties: { succeeded: { type: 'integer' } } }, state: { type: 'string', enum: ['Draft', 'Active'] } } } } },
  resolve: resolver({}),
}
const known: Known = {
  ...NOTHING_KNOWN,
  names: { taskRef: ['scan', 'builtin.echo'], node: ['scan', 'move', 'tell'], workflowRef: ['patrol'], resource: ['radar-1'], nodeName: ['node-1'] },
  params: ['zone'], variables: ['limit'], secrets: { db: ['password'] }, methods: { 'radar-1': ['calibrate', 'rinse'] }, object: valueOf(DONE),
}
/** Labels at the mark `|`. */
function at(text: string, what: Known = known): string[] | undefined {
  const place = text.indexOf('|')
  return completionsAt(text.replace('|', ''), place, what)?.options.map((option) => option.label)
}
const inNode = (line: string): string => `${DONE.slice(0, DONE.indexOf('    - name: tell'))}    - name: tell\n      ${line}\n`

describe('completion in the YAML of a workflow', () => {
  it.each([
    ['payload: {x: "${{ |', ['params', 'nodes', 'variables', 'run', 'secrets', 'loop', 'item']],
    ['payload: {x: "${{ params.|', ['zone']],
    ['payload: {x: "${{ size(nodes.|', ['scan', 'move', 'tell']],
    ['payload: {x: "${{ nodes.scan.|', ['output', 'phase', 'outcome', 'error']],
    ['payload: {x: "${{ nodes.scan.output.|', ['contacts']],
    ['payload: {x: "${{ secrets.|', ['db']],
    ['payload: {x: "${{ secrets.db.|', ['password']],
    ['when: nodes.|', ['scan', 'move', 'tell']],
    ['when: variables.li|', ['limit']],
    ['taskRef: |', ['scan', 'builtin.echo']],
    ['dependsOn: [|', ['scan', 'move', 'tell']],
    ['dependsOn: [{node: |', ['scan', 'move', 'tell']],
    ['workflowRef: p|', ['patrol']],
    ['nodeName: |', ['node-1']],
    ['waitPolicy: |', ['all', 'any']],
  ])('%s', (line, options) => {
    expect(at(inNode(line))).toEqual(options)
  })
  it('knows the settings of a step and the operations of its device', () => {
    const text = DONE.replace('        method: calibrate', '        method: |')
    expect(at(text)).toEqual(['calibrate', 'rinse'])
    expect(at(DONE.replace('        method: calibrate', '        |'))).toContain('delivery')
    expect(at(inNode('config:\n        |'))).toContain('expect')
  })
  it('has keys from the schema, and its own while there is none', () => {
    const withSchema = { ...known, schema }
    expect(at('spec:\n  |', withSchema)).toEqual(['keepRuns', 'state'])
    expect(at('spec:\n  keepRuns:\n    |', withSchema)).toEqual(['succeeded'])
    expect(at('spec:\n  |')).toContain('concurrencyPolicy')
    expect(at('spec:\n  nodes:\n    - name: a\n      |')).toContain('triggerRule')
    expect(at('|')).toEqual(['apiVersion', 'kind', 'metadata', 'spec'])
  })
  it('writes what follows a key, and a dot behind a root', () => {
    expect(completionsAt('spec:\n  ', 8, known)?.options.find((option) => option.label === 'state')?.apply).toBe('state: ')
    expect(completionsAt('when: ', 6, known)?.options.map((option) => option.apply)).toContain('nodes.')
  })
  it('is silent in plain text', () => {
    expect(at('spec:\n  description: some w|')).toBeUndefined()
  })
})
