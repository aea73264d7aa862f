import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BUILTINS } from './checks'
import { FIELD_OWNERS } from './commands'
import { NODE_FIELDS, WHEN_FIELDS, failureFields, placeFields } from '../editor/fields'
import { NODE_FACTS, RUN_FACTS } from '../editor/completions'
import { NODE_TYPES, TRIGGER_RULES } from './definition'

/** The words of the schemas, where they are written: a type that is added there and not here fails this. */
const schemas = join(__dirname, '../../../../../schemas/plum_schemas')
const python = (file: string): string => readFileSync(join(schemas, file), 'utf8')
const words = (text: string | undefined): string[] => [...(text ?? '').matchAll(/"([^"]+)"/g)].map((match) => match[1] as string).sort()

const flow = (file: string): string => readFileSync(join(__dirname, '../../../../../sdk/python/plum_flow/workflow', file), 'utf8')

describe('the forms of nodes have', () => {
  it('every setting of every step', () => {
    const table = flow('step_checks.py').split('STEP_SETTINGS')[1]!.split('BUILTIN_PAYLOADS')[0]!
    const settings = Object.fromEntries([...table.matchAll(/\n {4}"(\w+)": Settings\(\s*\{([\s\S]*?)\},?\n? *(?:needed|one_of|some_of|\))/g)].map((found) => [found[1]!, [...found[2]!.matchAll(/"(\w+)":/g)].map((each) => each[1]!).sort()]))
    expect(Object.keys(settings).length).toBe(9)
    for (const [type, names] of Object.entries(settings)) {
      const shown = NODE_FIELDS[type as 'http'].filter((field) => field.path.startsWith('config.')).map((field) => field.path.slice(7))
      expect(shown.sort(), type).toEqual(names)
    }
  })
  it('every field of a node', () => {
    const own = /class WorkflowNode\([\s\S]*/.exec(python('node_types.py'))?.[0].split('\n\n\n')[0] ?? ''
    const camel = (name: string): string => name.replace(/_$/, '').replace(/_(\w)/g, (_all, letter: string) => letter.toUpperCase())
    const fields = [...own.matchAll(/^ {4}(\w+): /gm)].map((found) => camel(found[1]!))
    const shown = new Set([...NODE_TYPES.flatMap((type) => [...NODE_FIELDS[type], ...failureFields(type), ...placeFields(type)]), ...WHEN_FIELDS].map((field) => field.path.split('.')[0]))
    // Shown otherwise: the head of the form, the list of edges, the graph itself.
    for (const name of ['name', 'type', 'displayName', 'description', 'dependsOn', 'position', 'body', 'wait']) shown.add(name)
    expect(fields.length).toBeGreaterThan(30)
    expect(fields.filter((name) => !shown.has(name))).toEqual([])
  })
})

describe('the editor knows', () => {
  it('every fact that expressions can read', () => {
    expect([...NODE_FACTS].sort()).toEqual(words(/NODE_FACTS = frozenset\(\{([^}]*)\}/.exec(flow('reference_checks.py'))?.[1]))
    expect([...RUN_FACTS].sort()).toEqual(words(/RUN_FACTS = frozenset\(\{([^}]*)\}/.exec(flow('reference_checks.py'))?.[1]))
  })
  it('every type of node, every trigger rule and every builtin', () => {
    expect([...NODE_TYPES].sort()).toEqual(words(/NodeType = Literal\[([^\]]*)\]/.exec(python('node_types.py'))?.[1]))
    expect([...TRIGGER_RULES].sort()).toEqual(words(/TriggerRule = Literal\[([^\]]*)\]/.exec(python('node_types.py'))?.[1]))
    expect([...BUILTINS].sort()).toEqual(words(/\nBUILTINS = \(([^)]*)\)/.exec(python('taskdefinition.py'))?.[1]))
  })
  it('which fields only some types have', () => {
    const owners = /_OWNERS[^{]*\{([\s\S]*?)\n\}/.exec(python('graph.py'))?.[1] ?? ''
    expect(Object.keys(FIELD_OWNERS).sort()).toEqual([...owners.matchAll(/^ {4}"(\w+)":/gm)].map((match) => match[1]).sort())
  })
})
