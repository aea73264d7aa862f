import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { applyEvents, collectionOf, mustListAgain, type WatchEvent } from './applyEvent'
import { keyOf, type AnyObj } from './objects'

function object(name: string, version: number, uid = name): AnyObj {
  return { apiVersion: 'v1', kind: 'Thing', metadata: { name, uid, resourceVersion: String(version), creationTimestamp: '' }, spec: { version } }
}

type Step = { name: string; gone: boolean }
/** What a store does: each step writes or deletes one object, at the next revision. */
const steps = fc.array(fc.record({ name: fc.constantFrom('a', 'b', 'c', 'd'), gone: fc.boolean() }), { maxLength: 40 })

/** Objects and events as a store makes them of steps, after `first` revisions. */
function history(all: readonly Step[], first = 8): { events: WatchEvent[]; states: Map<string, AnyObj>[] } {
  const live = new Map<string, AnyObj>()
  const events: WatchEvent[] = []
  const states = [new Map(live)]
  all.forEach(({ name, gone }, index) => {
    const before = live.get(name)
    if (gone && !before) return
    const now = object(name, first + index + 1)
    if (gone) live.delete(name)
    else live.set(name, now)
    events.push({ type: gone ? 'DELETED' : before ? 'MODIFIED' : 'ADDED', object: now })
    states.push(new Map(live))
  })
  return { events, states }
}

const start = collectionOf<AnyObj>([], '8')

describe('applying the events of a watch', () => {
  it('ends where the store is, in whatever batches they come', () => {
    fc.assert(
      fc.property(steps, fc.array(fc.nat(5)), (all, cuts) => {
        const { events, states } = history(all)
        let collection = start
        let rest = events
        for (const cut of cuts) {
          collection = applyEvents(collection, rest.slice(0, cut))
          rest = rest.slice(cut)
        }
        collection = applyEvents(collection, rest)
        expect(new Map(collection.items)).toEqual(states.at(-1))
      }),
    )
  })

  it('is not changed by events that it has seen, as a resumed watch repeats them', () => {
    fc.assert(
      fc.property(steps, fc.nat(), (all, pick) => {
        const { events, states } = history(all)
        const once = applyEvents(start, events)
        const from = events.length ? pick % events.length : 0
        const again = applyEvents(once, events.slice(from))
        expect(new Map(again.items)).toEqual(states.at(-1))
        expect(again).toBe(once)
      }),
    )
  })

  it('goes on from a list that was made in the middle', () => {
    fc.assert(
      fc.property(steps, fc.nat(), (all, pick) => {
        const { events, states } = history(all)
        const at = pick % (events.length + 1)
        const version = at ? (events[at - 1]!.object as AnyObj).metadata.resourceVersion : '8'
        const listed = collectionOf([...states[at]!.values()], version)
        // The watch may begin earlier than the list.
        const collection = applyEvents(listed, events.slice(Math.max(0, at - 3)))
        expect(new Map(collection.items)).toEqual(states.at(-1))
      }),
    )
  })

  it('never changes what it was given', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const { events } = history(all)
        const before = applyEvents(start, events.slice(0, 5))
        const copy = new Map(before.items)
        applyEvents(before, events.slice(5))
        expect(before.items).toEqual(copy)
      }),
    )
  })

  it('counts revisions as numbers: 10 follows 9', () => {
    const one = applyEvents(collectionOf([object('a', 9)], '9'), [{ type: 'MODIFIED', object: object('a', 10) }])

    expect(one.items.get('a')?.metadata.resourceVersion).toBe('10')
    expect(one.resourceVersion).toBe('10')
  })

  it('moves on with bookmarks without drawing anything anew', () => {
    const before = collectionOf([object('a', 3)], '3')

    const after = applyEvents(before, [{ type: 'BOOKMARK', object: { ...object('', 90) } }])

    expect(after.resourceVersion).toBe('90')
    expect(after.items).toBe(before.items)
  })

  it('keeps namespaces apart', () => {
    const inside = { ...object('a', 4), metadata: { ...object('a', 4).metadata, namespace: 'x' } }

    const after = applyEvents(collectionOf([object('a', 3)], '3'), [{ type: 'ADDED', object: inside }])

    expect([...after.items.keys()]).toEqual(['a', 'x/a'])
    expect(keyOf(inside)).toBe('x/a')
  })

  it('lists again only when the revision is too old', () => {
    const status = (code: number): WatchEvent => ({ type: 'ERROR', object: { kind: 'Status', code } })

    expect(mustListAgain(status(410) as never)).toBe(true)
    expect(mustListAgain(status(429) as never)).toBe(false)
  })
})
