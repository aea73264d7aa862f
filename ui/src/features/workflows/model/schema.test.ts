import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BUILTINS } from './checks'
import { FIELD_OWNERS } from './commands'
import { NODE_TYPES, TRIGGER_RULES } from './definition'

/** The words of the schemas, where they are written: a type that is added there and not here fails this. */
const schemas = join(__dirname, '../../../../../schemas/plum_schemas')
const python = (file: string): string => readFileSync(join(schemas, file), 'utf8')
const words = (text: string | undefined): string[] => [...(text ?? '').matchAll(/"([^"]+)"/g)].map((match) => match[1] as string).sort()

describe('the editor knows', () => {
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
