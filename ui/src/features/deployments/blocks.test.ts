import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HOME_ANNOTATION, blockAt, blockRows, countStates, gridFor, segmentsOf } from './blocks'
import { deployment, instance } from './testing'

describe('rows of blocks', () => {
  it('have one row for each node in the order people count', () => {
    const rows = blockRows(deployment({ replicas: 3 }), [
      instance('a', 'node-10'),
      instance('b', 'node-2'),
      instance('c', 'node-2'),
    ])
    expect(rows.map((row) => [row.node, row.blocks.length, row.ready])).toEqual([
      ['node-2', 2, 2],
      ['node-10', 1, 1],
    ])
  })

  it('show what is wanted and not there as empty blocks without a node', () => {
    const rows = blockRows(deployment({ replicas: 3 }), [instance('a', 'node-1'), instance('b', 'node-1', { phase: 'Failed' })])
    expect(rows.map((row) => [row.node, row.blocks.map((block) => block.state)])).toEqual([
      ['', ['missing', 'missing']],
      ['node-1', ['ready', 'failed']],
    ])
  })

  it('show on each node what nodeReplicas wants there, also on one that has nothing', () => {
    const rows = blockRows(deployment({ nodeReplicas: { 'node-1': 2, 'node-2': 1 } }), [instance('a', 'node-1')])
    expect(rows.map((row) => [row.node, row.wanted, row.blocks.map((block) => block.state)])).toEqual([
      ['node-1', 2, ['ready', 'missing']],
      ['node-2', 1, ['missing']],
    ])
  })

  it('count an instance that runs away from home for its home', () => {
    const away = instance('a', 'node-2', undefined, { annotations: { [HOME_ANNOTATION]: 'node-1' } })
    const rows = blockRows(deployment({ nodeReplicas: { 'node-1': 1 } }), [away])
    expect(rows.map((row) => [row.node, row.blocks.map((block) => block.home)])).toEqual([
      ['node-1', []],
      ['node-2', ['node-1']],
    ])
  })

  it('mark what is to be replaced', () => {
    const old = instance('a', 'node-1', undefined, { labels: { 'plum.dev/revision': 'old' } })
    const evicted = instance('b', 'node-1', undefined, {
      labels: { 'plum.dev/revision': 'new' },
      annotations: { 'plum.dev/evict': 'node-1' },
    })
    expect(
      blockRows(deployment({ replicas: 2 }), [old, evicted, instance('c', 'node-1')])[0]?.blocks.map((block) => block.old),
    ).toEqual([true, true, false])
  })

  it('lose no instance, and fill up to what is wanted', () => {
    const phases = ['Pending', 'Running', 'Failed', 'Unknown', 'Stopping'] as const
    const some = fc.array(fc.record({ node: fc.constantFrom('', 'n1', 'n2', 'n3'), phase: fc.constantFrom(...phases) }), {
      maxLength: 30,
    })
    fc.assert(
      fc.property(some, fc.nat(20), (made, replicas) => {
        const instances = made.map((one, at) => instance(`i-${at}`, one.node, { phase: one.phase }))
        const blocks = blockRows(deployment({ replicas }), instances).flatMap((row) => row.blocks)
        const counts = countStates(blocks)
        expect(blocks.filter((block) => block.name).length).toBe(instances.length)
        const alive = instances.length - (counts.get('failed') ?? 0) - (counts.get('lost') ?? 0) - (counts.get('stopping') ?? 0)
        expect(counts.get('missing') ?? 0).toBe(Math.max(0, replicas - alive))
      }),
    )
  })
})

describe('when there are many', () => {
  it('a row becomes a bar whose parts are the whole', () => {
    const blocks =
      blockRows(deployment({ replicas: 4 }), [instance('a', ''), instance('b', '', { phase: 'Failed' })])[0]?.blocks ?? []
    const segments = segmentsOf(blocks)
    expect(segments.map((one) => [one.state, one.count])).toEqual([
      ['ready', 1],
      ['failed', 1],
      ['missing', 3],
    ])
    expect(segments.reduce((sum, one) => sum + one.share, 0)).toBeCloseTo(1)
  })

  it('every block of a grid is found again under the middle of where it is drawn', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 6000 }), fc.integer({ min: 40, max: 1600 }), fc.nat(), (count, width, seed) => {
        const grid = gridFor(count, width)
        const index = seed % count
        const step = grid.size + grid.gap
        const x = (index % grid.columns) * step + grid.size / 2
        const y = Math.floor(index / grid.columns) * step + grid.size / 2
        expect(blockAt(grid, count, x, y)).toBe(index)
        expect(y).toBeLessThan(grid.height)
      }),
    )
  })
})
