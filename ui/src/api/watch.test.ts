import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { kinds } from './kinds'
import type { AnyObj } from './objects'
import { LiveCollection } from './watch'

/** A socket of a controller that the test plays. */
class Socket {
  static all: Socket[] = []
  onopen: (() => void) | null = null
  onmessage: ((message: { data: string }) => void) | null = null
  onclose: (() => void) | null = null
  closed = false
  constructor(readonly url: string) {
    Socket.all.push(this)
  }
  close(): void {
    this.closed = true
  }
  say(...events: unknown[]): void {
    this.onmessage?.({ data: events.map((event) => JSON.stringify(event)).join('\n') })
  }
}

function thing(name: string, version: number): AnyObj {
  return { apiVersion: 'plum.dev/v1', kind: 'Deployment', metadata: { name, namespace: 'default', uid: name, resourceVersion: String(version), creationTimestamp: '' }, spec: {} }
}

let answers: (() => Response)[] = []
const asked: string[] = []

function listOf(items: AnyObj[], version: number, more?: string): () => Response {
  return () => new Response(JSON.stringify({ kind: 'DeploymentList', apiVersion: 'plum.dev/v1', metadata: { resourceVersion: String(version), continue: more, remainingItemCount: more ? 1 : undefined }, items }))
}
const refusal = (code: number, reason: string): (() => Response) => () => new Response(JSON.stringify({ kind: 'Status', code, reason, message: reason }), { status: code })

function live(): LiveCollection {
  const collection = new LiveCollection(kinds.Deployment, {}, false, (url) => new Socket(url) as unknown as WebSocket)
  collection.start()
  return collection
}
const names = (collection: LiveCollection): string[] => collection.view.items.map((item) => item.metadata.name)
const settle = (): Promise<void> => vi.advanceTimersByTimeAsync(100).then(() => undefined)

beforeEach(() => {
  vi.useFakeTimers()
  Socket.all = []
  asked.length = 0
  answers = []
  vi.stubGlobal('fetch', async (url: string) => {
    asked.push(url)
    const answer = answers.shift()
    if (!answer) throw new TypeError('no network')
    return answer()
  })
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

describe('a live collection', () => {
  it('lists in chunks, shows the first before the last, and watches from there', async () => {
    answers = [listOf([thing('a', 1)], 7, 'next'), listOf([thing('b', 2)], 7)]
    const collection = live()
    await settle()

    expect(names(collection)).toEqual(['a', 'b'])
    expect(asked[1]).toContain('continue=next')
    expect(Socket.all[0]!.url).toContain('resourceVersion=7')
    Socket.all[0]!.onopen?.()
    expect(collection.view.state).toBe('live')
    collection.close()
  })

  it('applies what it hears, does without managed fields and draws once for many', async () => {
    answers = [listOf([thing('a', 1)], 7)]
    const collection = live()
    await settle()
    const before = collection.view.items
    Socket.all[0]!.onopen?.()
    Socket.all[0]!.say({ type: 'ADDED', object: thing('b', 8) })
    Socket.all[0]!.say({ type: 'DELETED', object: thing('a', 9) })

    expect(collection.view.items).toBe(before)
    await settle()
    expect(names(collection)).toEqual(['b'])
    for (const url of [asked[0]!, Socket.all[0]!.url]) expect(decodeURIComponent(url)).toContain('omit=/metadata/managedFields')
    collection.close()
  })

  it('says since when it is stale, keeps what was seen, and resumes from the last revision', async () => {
    answers = [listOf([thing('a', 1)], 7)]
    const collection = live()
    await settle()
    Socket.all[0]!.onopen?.()
    Socket.all[0]!.say({ type: 'BOOKMARK', object: thing('', 40) })
    await settle()
    Socket.all[0]!.onclose?.()

    expect(collection.view.state).toBe('stale')
    expect(collection.view.staleSince).toBeGreaterThan(0)
    expect(names(collection)).toEqual(['a'])
    await vi.advanceTimersByTimeAsync(2000)
    expect(Socket.all[1]!.url).toContain('resourceVersion=40')
    Socket.all[1]!.onopen?.()
    expect([collection.view.state, collection.view.staleSince]).toEqual(['live', 0])
    expect(asked).toHaveLength(1)
    collection.close()
  })

  it('lists again when its revision is too old, and shows the old list until the new one is complete', async () => {
    answers = [listOf([thing('a', 1)], 7), listOf([thing('c', 90)], 91)]
    const collection = live()
    await settle()
    Socket.all[0]!.onopen?.()
    Socket.all[0]!.say({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })

    expect(names(collection)).toEqual(['a'])
    await settle()
    expect(names(collection)).toEqual(['c'])
    expect(Socket.all[1]!.url).toContain('resourceVersion=91')
    collection.close()
  })

  it('keeps the objects that did not change, so that a new list draws nothing anew', async () => {
    answers = [listOf([thing('a', 1), thing('b', 2)], 7), listOf([thing('a', 1), thing('b', 9)], 91, 'next'), listOf([thing('c', 90)], 91)]
    const collection = live()
    await settle()
    const [a, b] = collection.view.items
    Socket.all[0]!.onopen?.()
    Socket.all[0]!.say({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })
    await settle()

    expect(names(collection)).toEqual(['a', 'b', 'c'])
    expect(collection.view.items[0]).toBe(a)
    expect(collection.view.items[1]).not.toBe(b)
    expect([collection.view.loaded, collection.view.remaining]).toEqual([0, 0])
    collection.close()
  })

  it('lists again where watches are refused again and again and lists are not', async () => {
    answers = [listOf([thing('a', 1)], 7), listOf([], 8), listOf([], 8), listOf([thing('b', 8)], 9)]
    const collection = live()
    await settle()
    Socket.all[0]!.onclose?.()
    await vi.advanceTimersByTimeAsync(1000)
    Socket.all[1]!.onclose?.()
    await vi.advanceTimersByTimeAsync(2000)

    expect(names(collection)).toEqual(['b'])
    expect(collection.view.staleSince).toBeGreaterThan(0)
    expect(Socket.all[2]!.url).toContain('resourceVersion=9')
    collection.close()
  })

  it('takes silence for a cut connection', async () => {
    answers = [listOf([], 7)]
    const collection = live()
    await settle()
    Socket.all[0]!.onopen?.()
    await vi.advanceTimersByTimeAsync(151_000)

    expect(Socket.all[0]!.closed).toBe(true)
    expect(collection.view.staleSince).toBeGreaterThan(0)
    collection.close()
  })

  it('tells a refusal apart from a controller that is away', async () => {
    answers = [refusal(403, 'Forbidden')]
    const refused = live()
    await settle()
    expect(refused.view.state).toBe('refused')
    refused.close()

    answers = []
    const away = live()
    await settle()
    expect([away.view.state, away.view.error?.name]).toEqual(['loading', 'UnreachableError'])
    answers = [listOf([thing('a', 1)], 3)]
    await vi.advanceTimersByTimeAsync(2000)
    expect(names(away)).toEqual(['a'])
    away.close()
  })

  it('asks why when a socket is refused', async () => {
    answers = [listOf([thing('a', 1)], 7), refusal(403, 'Forbidden')]
    const collection = live()
    await settle()
    Socket.all[0]!.onclose?.()
    await settle()

    expect(collection.view.state).toBe('refused')
    collection.close()
  })
})
