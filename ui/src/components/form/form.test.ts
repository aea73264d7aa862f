import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { effectScope, ref } from 'vue'
import { ApiError } from '@/api/errors'
import { kinds } from '@/api/kinds'
import { parseYaml } from '@/components/yaml/document'
import type { Json } from '@/components/yaml/json'
import { resolver, type KindSchema, type Schema } from '@/components/yaml/schema'
import { bodyFields, fieldOf, fieldsOf, metadataFields, titleOf } from './fields'
import { edited, partsOf } from './manifestText'
import { offersOf, referenceOf } from './references'
import { problemsOf, useTrial } from './useTrial'
import { decoded, encoded, intOrString, renamedKey, valueAt, withAt } from './values'

const DURATION = '^(0|([0-9]+(\\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+)$'
const SPEC: Schema = {
  type: 'object',
  required: ['workflowRef'],
  properties: {
    priority: { type: 'integer', default: 3 },
    workflowRef: { type: 'string' },
    timeout: { type: 'string', pattern: DURATION },
    policy: { type: 'string', enum: ['Allow', 'Forbid'], default: 'Allow' },
    surge: { anyOf: [{ type: 'integer' }, { type: 'string' }], 'x-kubernetes-int-or-string': true },
    params: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
    labels: { type: 'object', additionalProperties: { type: 'string' } },
    env: { type: 'array', items: { type: 'object', properties: { name: { type: 'string' }, secretKeyRef: { type: 'object', properties: { name: { type: 'string' }, key: { type: 'string' } } } } } },
  },
}
const schema: KindSchema = { root: { type: 'object', properties: { apiVersion: {}, kind: {}, metadata: {}, spec: SPEC, status: {} } }, resolve: resolver({}) }

describe('fields of a schema', () => {
  it('have the widget of their type, the required ones first', () => {
    const { path, fields } = bodyFields(schema, kinds.Trigger)
    expect(path).toEqual(['spec'])
    expect(fields.map((field) => [field.name, field.widget])).toEqual([
      ['workflowRef', 'reference'], ['priority', 'integer'], ['timeout', 'duration'], ['policy', 'enum'], ['surge', 'intOrString'], ['params', 'any'], ['labels', 'map'], ['env', 'list'],
    ])
    expect(fields[0]).toMatchObject({ required: true, reference: { kind: kinds.Workflow } })
    expect(fields[3]).toMatchObject({ preset: 'Allow', options: ['Allow', 'Forbid'] })
  })
  it('are everything beside identity and status where there is more than a spec', () => {
    const secret: KindSchema = { root: { type: 'object', properties: { metadata: {}, data: { type: 'object', additionalProperties: { type: 'string', format: 'byte' } }, type: { type: 'string' } } }, resolve: resolver({}) }
    const { path, fields } = bodyFields(secret, kinds.Secret)
    expect([path, fields.map((field) => field.name)]).toEqual([[], ['data', 'type']])
    expect(fieldOf(secret, fields[0]!.schema.additionalProperties as Schema, 'data', ['data'], kinds.Secret).widget).toBe('bytes')
  })
  it('of metadata are those that people write, with a namespace where kinds have one', () => {
    expect(metadataFields(schema, kinds.Trigger).map((field) => field.name)).toEqual(['name', 'namespace', 'labels', 'annotations'])
    expect(metadataFields(schema, kinds.ClusterRole).map((field) => field.name)).toEqual(['name', 'labels', 'annotations'])
  })
  it('that refer offer what is there', () => {
    const names = fieldsOf(schema, SPEC.properties!.env!.items, ['spec', 'env'], kinds.Deployment)
    expect(names.map((field) => field.widget)).toEqual(['text', 'object'])
    expect(referenceOf(kinds.Deployment, ['spec', 'env', 'secretKeyRef', 'key'], { name: 'db' })).toEqual({ kind: kinds.Secret, of: 'data', only: 'db' })
    expect(offersOf({ kind: kinds.Secret, of: 'data', only: 'db' }, { metadata: { name: 'db' }, data: { password: 'eA==' } })).toEqual(['password'])
    expect(offersOf({ kind: kinds.Secret, of: 'data', only: 'db' }, { metadata: { name: 'other' }, data: { user: '' } })).toEqual([])
    expect(referenceOf(kinds.RoleBinding, ['roleRef', 'name'], { kind: 'ClusterRole' })?.kind).toBe(kinds.ClusterRole)
    expect(referenceOf(kinds.Trigger, ['spec', 'priority'])).toBeUndefined()
  })
  it('name the items of lists', () => {
    expect([titleOf({ name: 'http', port: 80 }), titleOf({ port: 80 }), titleOf('x'), titleOf(null)]).toEqual(['http', '80', '', ''])
  })
})

describe('values', () => {
  it('are changed at a path, and what became empty goes with the last of it', () => {
    const first: Json = { spec: { ports: [{ name: 'a' }], retry: { limit: 2 } } }
    expect(withAt(first, ['spec', 'retry', 'limit'], undefined)).toEqual({ spec: { ports: [{ name: 'a' }] } })
    expect(withAt(first, ['spec', 'ports', 0, 'name'], undefined)).toEqual({ spec: { ports: [{}], retry: { limit: 2 } } })
    expect(withAt(first, ['spec', 'ports', 0], undefined)).toEqual({ spec: { retry: { limit: 2 } } })
    expect(withAt({ spec: { a: 1 } }, ['spec', 'a'], undefined)).toEqual({ spec: {} })
    expect(withAt({}, ['spec', 'ports', 1, 'port'], 80)).toEqual({ spec: { ports: [undefined, { port: 80 }] } })
  })
  it('that were set are found again, and the others stay as they were', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-c]$/), { minLength: 1, maxLength: 4 }), fc.integer(), fc.dictionary(fc.stringMatching(/^[d-f]$/), fc.integer()), (path, value, rest) => {
        const result = withAt(rest, path, value)
        return valueAt(result, path) === value && Object.entries(rest).every(([key, one]) => valueAt(result, [key]) === one)
      }),
    )
  })
  it('of other kinds are read as people write them', () => {
    expect(['8080', ' 3 ', '25%', '', '1e3', '-1'].map(intOrString)).toEqual([8080, 3, '25%', undefined, '1e3', -1])
    expect(decoded(encoded('päss 密码\n'))).toBe('päss 密码\n')
    expect(decoded('/////w==')).toBeUndefined()
    expect(Object.entries(renamedKey({ a: 1, b: 2, c: 3 }, 'b', 'x'))).toEqual([['a', 1], ['x', 2], ['c', 3]])
    expect(Object.entries(renamedKey({ a: 1, b: 2 }, 'a', 'b'))).toEqual([['b', 1]])
  })
})

const TEXT = `# two of them
apiVersion: plum.dev/v1
kind: Trigger   # every night
metadata: {name: night}
spec:
  workflowRef: backup # which one
  mystery: {kept: yes}
--- # and
kind: Secret
metadata:
  name: "db"
`

describe('one of several manifests', () => {
  it('is changed where it stands; comments, unknown fields and the others stay', () => {
    const next = edited(TEXT, 0, ['spec', 'workflowRef'], 'restore')
    expect(next).toBe(TEXT.replace('backup #', 'restore #'))
    expect(edited(next, 1, ['metadata', 'name'], 'db2')).toBe(next.replace('"db"', 'db2'))
    expect(edited(TEXT, 1, ['stringData', 'password'], 'x')).toContain('stringData:')
    expect(edited(TEXT, 1, ['metadata', 'name'], 'db')).toBe(TEXT)
    expect(edited(TEXT, 2, ['metadata', 'name'], 'db')).toBe(TEXT)
  })
  it('that cannot be read is told with its line, and nothing is written over it', () => {
    const broken = `${TEXT}---\nkind: [`
    expect(partsOf(broken).map((part) => part.error?.line)).toEqual([undefined, undefined, 13])
    expect(edited(broken, 2, ['kind'], 'X')).toBe(broken)
    expect(parseYaml(edited(broken, 0, ['spec', 'priority'], 2)).problems.length).toBeGreaterThan(0)
  })
})

describe('a dry run', () => {
  it('is asked for after a pause and tells refusals by field', async () => {
    const refusal = new ApiError(422, 'spec.x is wrong', { kind: 'Status', code: 422, details: { causes: [{ field: 'spec.x', message: 'is 3; at most 2' }] } })
    expect(problemsOf(refusal, 1)).toEqual([{ field: 'spec.x', message: 'is 3; at most 2', document: 1 }])
    expect(problemsOf(new Error('cut'))).toEqual([])
    const values = ref<unknown[]>([])
    const asked: unknown[] = []
    const scope = effectScope()
    const trial = scope.run(() =>
      useTrial(() => values.value, () => false, async (value) => {
        asked.push(value)
        if (value === 'bad') throw refusal
      }),
    )!
    expect(trial.state.value).toBe('unread')
    values.value = ['good', 'bad']
    await expect.poll(() => trial.state.value, { timeout: 5000 }).toBe('refused')
    expect(trial.problems.value).toEqual([{ field: 'spec.x', message: 'is 3; at most 2', document: 1 }])
    values.value = ['good']
    await expect.poll(() => trial.state.value, { timeout: 5000 }).toBe('fine')
    expect([asked, trial.problems.value]).toEqual([['good', 'bad', 'good'], []])
    scope.stop()
  })
})
