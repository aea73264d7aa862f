import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { check, editable, nearest, parseField, parseYaml, pathAtCursor, rangeAt, toYaml } from './document'
import { resolver, schemaAt, skeleton, type KindSchema, type Schema } from './schema'

const schemas: Record<string, Schema> = {
  Port: { type: 'object', required: ['port'], properties: { name: { type: 'string' }, port: { type: 'integer', minimum: 1, maximum: 65535 } } },
  Demo: {
    type: 'object',
    required: ['spec'],
    properties: {
      apiVersion: { type: 'string' }, kind: { type: 'string' }, metadata: { type: 'object' },
      spec: {
        type: 'object',
        required: ['mode'],
        properties: {
          mode: { type: 'string', enum: ['One', 'Two'] },
          replicas: { type: 'integer', minimum: 0, default: 1 },
          ports: { type: 'array', items: { allOf: [{ $ref: '#/components/schemas/Port' }], description: 'a port' } },
          labels: { type: 'object', additionalProperties: { type: 'string' } },
          any: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
        },
      },
    },
  },
}
const schema: KindSchema = { root: schemas.Demo!, resolve: resolver(schemas) }

/** The text with a `|` where the cursor is. */
function cursorIn(text: string) {
  const offset = text.indexOf('|')
  return pathAtCursor(text.replace('|', ''), offset)
}

describe('where somebody is typing', () => {
  it.each([
    ['spec:\n  |', ['spec'], undefined],
    ['spec:\n  re|', ['spec'], undefined],
    ['spec:\n  mode: O|', ['spec'], 'mode'],
    ['spec:\n  ports:\n    - name: a\n      po|', ['spec', 'ports', 0], undefined],
    ['spec:\n  ports:\n  - name: a\n    port: 1\n  - na|', ['spec', 'ports', 1], undefined],
    ['spec:\n  ports:\n    - name: a\n    - name: b\n      port: |', ['spec', 'ports', 1], 'port'],
    ['spec:\n  template:\n    a: 1\n  mo|', ['spec'], undefined],
    ['a:\n  b: 1\n# comment\n\nc|', [], undefined],
    ['x: 1\n---\nspec:\n  |', ['spec'], undefined],
    ['nodes:\n  - id: a\n    task:\n      pa|', ['nodes', 0, 'task'], undefined],
    ['nodes:\n  - id: a\n    list:\n      - x: 1\n      - y|', ['nodes', 0, 'list', 1], undefined],
  ])('%j', (text, path, key) => {
    const cursor = cursorIn(text)

    expect(cursor?.path).toEqual(path)
    expect(cursor?.key).toBe(key)
  })

  it('agrees with the parser on any block of maps and lists', () => {
    const value = fc.letrec((tie) => ({
      value: fc.oneof({ depthSize: 'small' }, fc.integer(), tie('map'), tie('list')),
      map: fc.dictionary(fc.stringMatching(/^[a-z]{1,6}$/), tie('value'), { minKeys: 1, maxKeys: 3 }),
      list: fc.array(tie('map'), { minLength: 1, maxLength: 3 }),
    })).map as fc.Arbitrary<object>
    fc.assert(
      fc.property(value, fc.nat(), (object, pick) => {
        const text = toYaml(object)
        const offset = pick % (text.length + 1)
        const before = text.slice(0, offset)
        const cursor = pathAtCursor(text, offset)
        // Only keys that are typed completely can be compared: what stands left of the colon.
        const lineStart = before.lastIndexOf('\n') + 1
        const line = text.slice(lineStart, text.indexOf('\n', lineStart))
        const match = /^(\s*(?:- )*)([a-z]+):/.exec(line)
        if (!match || !cursor || offset - lineStart < match[1]!.length || offset - lineStart > match[1]!.length + match[2]!.length) return
        let found: unknown = parse(text)
        for (const step of cursor.path) found = (found as Record<string | number, unknown>)[step]
        expect(Object.keys(found as object)).toContain(match[2])
      }),
      { numRuns: 300, interruptAfterTimeLimit: 10_000 },
    )
  })
})

describe('checking against a schema', () => {
  it('finds what is wrong, with its place and what is expected', () => {
    const value = { apiVersion: 'v1', kind: 'Demo', metadata: {}, spec: { mode: 'Three', replicas: -1, ports: [{ port: 70000 }, { prot: 1 }], labels: { a: 1 }, any: { x: [1] } } }

    const findings = check(schema, value).map(({ path, code, expected }) => [path.join('.'), code, expected])

    expect(findings).toEqual([
      ['spec.mode', 'enum', 'One, Two'],
      ['spec.replicas', 'minimum', '0'],
      ['spec.ports.0.port', 'maximum', '65535'],
      ['spec.ports.1.port', 'required', 'port'],
      ['spec.ports.1.prot', 'unknown', 'port'],
      ['spec.labels.a', 'type', 'string'],
    ])
  })

  it('accepts what is right, and the skeleton of a kind but for its names', () => {
    expect(check(schema, { apiVersion: 'v1', kind: 'Demo', spec: { mode: 'One', ports: [{ port: 1 }] } })).toEqual([])
    expect(check(schema, skeleton(schema))).toEqual([])
  })

  it('finds the schema at a path through lists, maps and references', () => {
    expect(schemaAt(schema, ['spec', 'ports', 3, 'port'])?.maximum).toBe(65535)
    expect(schemaAt(schema, ['spec', 'ports', '3'])?.description).toBe('a port')
    expect(schemaAt(schema, ['spec', 'labels', 'anything'])?.type).toBe('string')
    expect(schemaAt(schema, ['spec', 'nothing'])).toBeUndefined()
  })
})

describe('text and places', () => {
  it('points at the value of a field as the API names it', () => {
    const text = 'spec:\n  ports:\n    - port: 1\n    - port: 99999\n'
    const [document] = parseYaml(text).documents

    const [from, to] = rangeAt(document!, parseField('spec.ports[1].port'))

    expect(text.slice(from, to)).toBe('99999')
  })

  it('points at the nearest parent of what is missing', () => {
    const text = 'spec:\n  mode: One\n'
    const [document] = parseYaml(text).documents

    const [from, to] = rangeAt(document!, ['spec', 'ports', 0])

    expect(text.slice(from, to)).toBe('spec')
  })

  it('tells syntax errors with their place and gives no values then', () => {
    const parsed = parseYaml('a: [1\nb: 2')

    expect(parsed.problems[0]?.severity).toBe('error')
    expect(parsed.values).toEqual([])
  })

  it('leaves out of an object what nobody edits', () => {
    const object = { kind: 'A', status: { x: 1 }, spec: { y: 1 }, metadata: { uid: 'u', resourceVersion: '1', managedFields: [], labels: { a: 'b' }, name: 'n' }, apiVersion: 'v1' }

    expect(editable(object)).toEqual({ apiVersion: 'v1', kind: 'A', metadata: { name: 'n', labels: { a: 'b' } }, spec: { y: 1 } })
  })

  it('guesses what was meant', () => {
    expect(nearest('replica', ['replicas', 'strategy'])).toBe('replicas')
    expect(nearest('xyz', ['replicas', 'strategy'])).toBe('')
  })
})
