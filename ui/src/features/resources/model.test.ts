import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Operation, Resource } from '@/api/types'
import { byAge, canCancel, curveOf, guessedModel, parseArguments, parseValue, shown, twinRows, typedOf, type ValueModel } from './model'

function resource(parts: { properties?: ValueModel[]; desired?: object; reported?: object; delta?: object }): Resource {
  return {
    apiVersion: 'plum.dev/v1', kind: 'Resource', metadata: { name: 'radar', uid: 'u', resourceVersion: '1', creationTimestamp: '' },
    spec: { model: { properties: parts.properties ?? [] }, desired: parts.desired ?? {} }, status: { reported: parts.reported ?? {}, delta: parts.delta ?? {} },
  } as unknown as Resource
}

const RANGE: ValueModel = { name: 'range', type: 'double', unit: 'm', min: 100, max: 5000 }

describe('twin rows', () => {
  it('shows the properties of the model in its order, then the others', () => {
    const rows = twinRows(
      resource({
        properties: [RANGE, { name: 'active', type: 'boolean', readOnly: true }], desired: { range: 1500 },
        reported: { range: { value: 812.5, time: 't', quality: 'good' }, zeta: { value: 1 }, alpha: { value: 2, quality: 'stale' } },
        delta: { range: { desired: 1500, reported: 812.5 } },
      }),
    )
    expect(rows.map((row) => row.name)).toEqual(['range', 'active', 'alpha', 'zeta'])
    expect(rows[0]).toMatchObject({ desired: 1500, reported: 812.5, differs: true, writable: true, quality: 'good', time: 't' })
    expect(rows[1]).toMatchObject({ writable: false, differs: false, reported: undefined })
    expect(rows[2]).toMatchObject({ writable: false, quality: 'stale' })
  })

  it('lets any property be desired when there is no model', () => {
    expect(twinRows(resource({ reported: { x: { value: 1 } } }))[0]!.writable).toBe(true)
  })
})

describe('values', () => {
  it('reads what was typed as the model asks', () => {
    expect(parseValue(RANGE, ' 1500 ').value).toBe(1500)
    expect(parseValue({ name: 'a', type: 'boolean' }, 'true').value).toBe(true)
    expect(parseValue({ name: 'a', type: 'enum', enum: ['fast', 2] }, '2').value).toBe(2)
    expect(parseValue({ name: 'a', type: 'object' }, '{"b": 1}').value).toEqual({ b: 1 })
    expect(parseValue({ name: 'a', type: 'string' }, '').value).toBe('')
    expect(parseValue({ name: 'a', type: 'integer' }, '').value).toBeUndefined()
  })

  it.each([
    [RANGE, '99', 'min'], [RANGE, '5001', 'max'], [RANGE, 'far', 'number'], [RANGE, 'Infinity', 'number'],
    [{ name: 'a', type: 'integer' } as ValueModel, '1.5', 'integer'], [{ name: 'a', type: 'boolean' } as ValueModel, 'yes', 'boolean'],
    [{ name: 'a', type: 'enum', enum: ['fast'] } as ValueModel, 'slow', 'enum'], [{ name: 'a', type: 'object' } as ValueModel, '[1]', 'object'],
    [{ name: 'a', type: 'array' } as ValueModel, '{', 'json'], [{ name: 'a', type: 'string', required: true } as ValueModel, '', 'required'],
    [{ name: 'a', type: 'double', required: true } as ValueModel, '', 'required'],
  ])('refuses %j %s with %s', (model, typed, key) => {
    expect(parseValue(model, typed).refusal?.key).toBe(key)
  })

  it('gives back what it showed in the input', () => {
    const value = fc.oneof(
      fc.tuple(fc.constant('boolean' as const), fc.boolean()), fc.tuple(fc.constant('integer' as const), fc.integer()),
      fc.tuple(fc.constant('double' as const), fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number + 0)),
      fc.tuple(fc.constant('string' as const), fc.string()), fc.tuple(fc.constant('array' as const), fc.array(fc.integer())),
    )
    fc.assert(
      fc.property(value, ([type, given]) => {
        const model: ValueModel = { name: 'x', type }
        expect(parseValue(model, typedOf(model, given)).value).toEqual(Object.is(given, -0) ? 0 : given)
      }),
    )
  })

  it('shows numbers without noise, with their unit', () => {
    expect(shown(0.1 + 0.2, 'm')).toBe('0.3 m')
    expect(shown(undefined)).toBe('–')
    expect(shown({ a: 1 })).toBe('{"a":1}')
    expect(guessedModel('x', [1]).type).toBe('array')
  })
})

describe('calls', () => {
  const operation = { name: 'calibrate', arguments: [{ name: 'mode', type: 'enum', enum: ['fast', 'full'], required: true } as ValueModel, RANGE] }

  it('collects the arguments that have a value', () => {
    expect(parseArguments(operation, { mode: 'fast', range: '' })).toEqual({ values: { mode: 'fast' }, refusals: {} })
  })

  it('says what is wrong with each', () => {
    expect(Object.keys(parseArguments(operation, { range: '1' }).refusals)).toEqual(['mode', 'range'])
  })

  it('can be cancelled once, and only before the end', () => {
    const made = (phase: string, canceled = false): Operation =>
      ({ metadata: { name: phase, creationTimestamp: phase }, spec: { canceled }, status: { phase } }) as unknown as Operation
    expect(canCancel(made('Running'))).toBe(true)
    expect(canCancel(made('Running', true))).toBe(false)
    expect(canCancel(made('Expired'))).toBe(false)
    expect(byAge([made('a'), made('b')]).map((one) => one.metadata.name)).toEqual(['b', 'a'])
  })
})

describe('charts', () => {
  const span = (time: string, avg?: number) => ({ property: 'range', time, count: 2, last: avg, avg, min: avg === undefined ? undefined : avg - 1, max: avg })

  it('draw means between their bounds, in the order of time, and go on with what is reported', () => {
    const curve = curveOf(
      [span('2026-01-01T00:00:04Z', 5), span('2026-01-01T00:00:00Z', 3), span('2026-01-01T00:00:08Z')],
      [{ time: '2026-01-01T00:00:04Z', value: 9 }, { time: '2026-01-01T00:00:09Z', value: true }, { time: '2026-01-01T00:00:10Z', value: 'idle' }],
    )
    expect(curve.mean.map(([, value]) => value)).toEqual([3, 5, 1])
    expect(curve.low.map(([, value]) => value)).toEqual([2, 4, 1])
  })

  it('have nothing to draw of words', () => {
    expect(curveOf([span('2026-01-01T00:00:00Z')]).mean).toEqual([])
  })
})
