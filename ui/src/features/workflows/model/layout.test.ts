import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { crossings, edgeKey, layout, spaced } from './layout'
import type { LayoutEdge, LayoutNode } from './layout'

const box = (id: string): LayoutNode => ({ id, width: 100, height: 40 })

describe('layout', () => {
  it('draws a chain as a straight line from left to right', () => {
    const { places } = layout(['a', 'b', 'c'].map(box), [{ from: 'a', to: 'b' }, { from: 'b', to: 'c' }])
    expect([...places.values()].map((place) => place.y)).toEqual([0, 0, 0])
    expect(places.get('b')?.x).toBe(172)
  })

  it('leads long edges around what is between', () => {
    const { bends, places } = layout(['a', 'b', 'c'].map(box), [{ from: 'a', to: 'b' }, { from: 'b', to: 'c' }, { from: 'a', to: 'c' }])
    const points = bends.get(edgeKey('a', 'c')) ?? []
    expect(points).toHaveLength(1)
    const b = places.get('b') ?? { x: 0, y: 0 }
    expect((points[0]?.y ?? 0) < b.y || (points[0]?.y ?? 0) > b.y + 40).toBe(true)
  })

  const graph = fc.integer({ min: 1, max: 24 }).chain((count) =>
    fc.record({ count: fc.constant(count), edges: fc.array(fc.tuple(fc.nat(count - 1), fc.nat(count - 1)), { maxLength: 50 }) }),
  )

  it('never lets nodes overlap, keeps direction, and is the same every time', () => {
    fc.assert(
      fc.property(graph, ({ count, edges }) => {
        const nodes = Array.from({ length: count }, (_, index) => ({ ...box(`n${index}`), height: 30 + (index % 3) * 20 }))
        const list: LayoutEdge[] = edges.map(([a, b]) => ({ from: `n${a}`, to: `n${b}` }))
        const result = layout(nodes, list)
        expect(layout(nodes, list)).toEqual(result)
        const boxes = nodes.map((node) => ({ ...node, ...(result.places.get(node.id) ?? { x: NaN, y: NaN }) }))
        for (const a of boxes)
          for (const b of boxes)
            if (a.id < b.id) expect(a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y + 1 || b.y + b.height <= a.y + 1).toBe(true)
        // Without cycles every edge goes to the right.
        const forward = list.filter((edge) => Number(edge.from.slice(1)) < Number(edge.to.slice(1)))
        const { places } = layout(nodes, forward)
        for (const edge of forward) expect((places.get(edge.from)?.x ?? 0) < (places.get(edge.to)?.x ?? 0)).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('counts crossings', () => {
    const cells = [{ order: 0, after: [3] }, { order: 1, after: [2] }, { order: 0, after: [] }, { order: 1, after: [] }]
    expect(crossings(cells, [[0, 1], [2, 3]])).toBe(1)
  })

  it('spaces by least squares', () => {
    expect(spaced([0, 0], [10, 10])).toEqual([-5, 5])
    expect(spaced([0, 100], [10, 10])).toEqual([0, 100])
  })

  it('lays out 2,000 nodes in columns of any size, and a chain of them', () => {
    const nodes = Array.from({ length: 2000 }, (_, index) => box(`n${index}`))
    const edges = nodes.slice(1).map((node, index) => ({ from: `n${Math.max(0, index - (index % 7))}`, to: node.id }))
    expect(layout(nodes, edges).places.size).toBe(2000)
    const chain = nodes.slice(1).map((node, index) => ({ from: `n${index}`, to: node.id }))
    expect(layout(nodes, chain).height).toBe(40)
  })
})
