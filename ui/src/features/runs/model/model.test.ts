import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { NODE_CONTROLS, RUN_CONTROLS, nodeRefusal, runRefusal } from './controls'
import type { Control } from './controls'
import { axisStep, bars, criticalPath } from './gantt'
import { gridOf } from './grid'
import { firstTexts, paramsOf, readAll } from './params'
import { NODE_PHASES, RUN_PHASES, byKey, iterationsOf, keyIn, madeOf, parseKey, progressOf, secondsOf, shortSeconds, shownKey } from './rows'
import type { Row } from './rows'

describe('controls', () => {
  const text = readFileSync(join(__dirname, '../../../../../docs/workflows.md'), 'utf8')
  const tables = text.split('<!-- end of controls -->')[0]?.split('<!-- controls')[1]?.split('\n\n') ?? []

  it.each([['run', 0, RUN_PHASES, RUN_CONTROLS], ['node', 1, NODE_PHASES, NODE_CONTROLS]] as const)('of a %s are those of the server', (_, index, phases, known) => {
    const lines = (tables[index] ?? '').split('\n').filter((line) => line.startsWith('| `'))
    expect(lines.length).toBe(Object.keys(known).length)
    for (const line of lines) {
      const [name, ...cells] = line.split('|').slice(1, -1).map((cell) => cell.trim().replaceAll('`', ''))
      const allowed = phases.filter((_phase, at) => cells[at] === 'yes')
      expect([...(known[name as Control] ?? [])].sort(), name).toEqual([...allowed].sort())
    }
  })

  it('tell why not', () => {
    expect(runRefusal('pause', 'Running')).toBeNull()
    expect(runRefusal('resume', 'Running')?.allowed).toEqual(['Paused'])
    expect(nodeRefusal('approve', 'Running', 'Running')).toMatchObject({ about: 'node', phase: 'Running' })
    expect(nodeRefusal('skip', 'Failed', 'Pending')).toMatchObject({ about: 'run', phase: 'Failed' })
    expect(nodeRefusal('rerun', 'Failed', 'Succeeded')).toBeNull()
  })
})

describe('rows', () => {
  it('reads and writes keys', () => {
    expect(parseKey('finally:again[00000002].sweep')).toEqual({ stage: 'finally', path: [{ name: 'again', iteration: 2 }, { name: 'sweep', iteration: null }] })
    expect(keyIn({ part: 'main', bodies: ['again', 'inner'] }, [2, 1], 'leaf')).toBe('again[00000002].inner[00000001].leaf')
    expect(shownKey('finally:again[00000012].sweep')).toBe('finally:again[12].sweep')
    const rows = ['again', 'again[00000000].x', 'again[00000011].x', 'again[00000002].x', 'against[00000005].x'].map((key) => ({ key }))
    expect(iterationsOf(rows, 'again')).toEqual([0, 2, 11])
  })
  it('tells progress, time and what was made', () => {
    expect(progressOf({ key: 'a', type: 'map', iteration: 2, total: 10 })).toEqual({ done: 3, total: 10 })
    expect(progressOf({ key: 'a', type: 'task' })).toBeNull()
    expect(secondsOf({ key: 'a', startedAt: '2026-01-01T00:00:00Z', finishedAt: '2026-01-01T00:00:02.5Z' }, 0)).toBe(2.5)
    expect(madeOf({ key: 'a', made: 'TaskRun/x-scan' })).toEqual({ kind: 'TaskRun', name: 'x-scan' })
    expect([0, 0.2, 1.24, 9.96, 59.4, 65, 3700, 90_000].map((seconds) => shortSeconds(seconds))).toEqual(['0s', '200ms', '1.2s', '10s', '59s', '1m05s', '1h01m', '1d01h'])
    expect([0.2, 1.24, 65, 3700].map((seconds) => shortSeconds(seconds, 'zh'))).toEqual(['200毫秒', '1.2秒', '1分05秒', '1小时01分'])
  })
})

describe('gantt', () => {
  const time = (seconds: number): string => new Date(seconds * 1000).toISOString()
  const row = (key: string, from: number, to: number): Row => ({ key, startedAt: time(from), finishedAt: time(to) })

  it('orders bars by start, and iterations below their loop', () => {
    const rows = [row('z', 1, 2), row('loop', 3, 20), row('loop[00000001].b', 9, 10), row('loop[00000000].b', 4, 5), row('a', 8, 9), { key: 'never' }]
    expect(bars(rows, 0).map((bar) => [bar.row.key, bar.depth])).toEqual([['z', 0], ['loop', 0], ['loop[00000000].b', 1], ['loop[00000001].b', 1], ['a', 0]])
  })

  it('finds what the end waited for, through nodes that were skipped', () => {
    const intervals = [
      { name: 'a', from: 0, to: 5 }, { name: 'b', from: 0, to: 9 }, { name: 'c', from: 9, to: 11 }, { name: 'd', from: 5, to: 7 }, { name: 'e', from: 11, to: 12 },
    ]
    const edges = [{ from: 'a', to: 'c' }, { from: 'b', to: 'c' }, { from: 'a', to: 'd' }, { from: 'c', to: 'skipped' }, { from: 'skipped', to: 'e' }, { from: 'd', to: 'e' }]
    expect(criticalPath(intervals, edges)).toEqual(['b', 'c', 'e'])
    expect(criticalPath([], [])).toEqual([])
  })

  it('always goes along edges, backwards in time, and ends, also in a circle', () => {
    const interval = fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd', 'e'), from: fc.nat(50), to: fc.integer({ min: 50, max: 99 }) })
    const edge = fc.record({ from: fc.constantFrom('a', 'b', 'c', 'd', 'e'), to: fc.constantFrom('a', 'b', 'c', 'd', 'e') })
    fc.assert(
      fc.property(fc.uniqueArray(interval, { selector: (one) => one.name, maxLength: 5 }), fc.array(edge, { maxLength: 8 }), (intervals, edges) => {
        const path = criticalPath(intervals, edges)
        expect(new Set(path).size).toBe(path.length)
        if (intervals.length > 0) {
          const last = intervals.find((one) => one.name === path[path.length - 1])
          expect(last?.to).toBe(Math.max(...intervals.map((one) => one.to)))
        }
      }),
    )
  })

  it('has round steps', () => {
    expect([900, 60_000, 5_000_000].map((span) => axisStep(span, 8))).toEqual([200, 10_000, 900_000])
  })
})

describe('grid', () => {
  it('has a line per node, also of earlier definitions', () => {
    const spec = { nodes: [{ name: 'a' }, { name: 'b' }], finally: { nodes: [{ name: 'z' }] } }
    const first = byKey([{ key: 'a', phase: 'Succeeded' }, { key: 'old', phase: 'Failed' }, { key: 'a[00000000].x', phase: 'Failed' }])
    const lines = gridOf(spec, [first, byKey([{ key: 'finally:z', phase: 'Running' }])])
    expect(lines.map((line) => [line.name, ...line.cells.map((cell) => cell.phase)])).toEqual([['a', 'Succeeded', ''], ['b', '', ''], ['z', '', 'Running'], ['old', 'Failed', '']])
  })
})

describe('params', () => {
  const params = paramsOf({
    params: [{ name: 'n', type: 'integer', default: 4 }, { name: 'who', required: true }, { name: 'on', type: 'boolean', default: false },
      { name: 'list', type: 'array', required: true }, { name: 'level', enum: ['low', 'high'], default: 'low' }],
  })
  it('become values, and only those that differ from their default', () => {
    expect(firstTexts(params)).toEqual({ n: '4', who: '', on: 'false', list: '', level: 'low' })
    expect(readAll(params, { n: '7', who: 'me', on: 'false', list: '[1, "a"]', level: 'high' })).toEqual({ values: { n: 7, who: 'me', list: [1, 'a'], level: 'high' }, problems: {} })
  })
  it('say what is wrong', () => {
    expect(readAll(params, { n: '1.5', who: '', on: 'x', list: '[1', level: 'mid' }).problems).toEqual({ n: 'type', who: 'required', on: 'type', list: 'json', level: 'enum' })
    expect(paramsOf({ params: { zone: 4, name: 'x' } }).map((one) => one.type)).toEqual(['integer', 'string'])
  })
})
