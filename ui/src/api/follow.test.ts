import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { ApiError } from './errors'
import { follow } from './follow'
import { hurryAll, inUse } from './watch'

/** A socket of a controller that the test plays. */
class Socket {
  static all: Socket[] = []
  onopen: (() => void) | null = null
  onmessage: ((message: { data: string }) => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  constructor(readonly url: string) {
    Socket.all.push(this)
  }
  close(): void {}
  say(type: string, object: unknown): void {
    this.onmessage?.({ data: JSON.stringify({ type, object }) })
  }
}
const settle = (milliseconds = 0): Promise<unknown> => vi.advanceTimersByTimeAsync(milliseconds)

let told: number[] = []
let failed: unknown[] = []
function start(): () => void {
  return follow<{ seq: number }>({
    path: '/audit', plain: { limit: 1 }, query: () => ({ resourceVersion: told.at(-1) ?? 0 }), told: ({ seq }) => void told.push(seq), failed: (error) => void failed.push(error),
  })
}

beforeEach(() => {
  vi.useFakeTimers()
  vi.stubGlobal('WebSocket', Socket)
  vi.stubGlobal('fetch', async () => {
    throw new TypeError('no network')
  })
  Socket.all = []
  told = []
  failed = []
})
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllGlobals()
})

describe('what is followed', () => {
  it('goes on where it was after a cut, and says since when it is not live', async () => {
    const stop = start()
    Socket.all[0]!.onopen?.()
    Socket.all[0]!.say('ADDED', { seq: 7 })
    Socket.all[0]!.say('BOOKMARK', { metadata: { resourceVersion: '7' } })
    await settle()
    expect(told).toEqual([7])
    Socket.all[0]!.onclose?.({ code: 1006 })
    await settle(10)
    expect([...inUse].map((live) => live.staleSince > 0)).toEqual([true])

    hurryAll()
    await settle(10)
    expect(Socket.all[1]!.url).toContain('resourceVersion=7')
    Socket.all[1]!.onopen?.()
    await settle()
    expect([...inUse].map((live) => live.staleSince)).toEqual([0])
    stop()
    expect(inUse.size).toBe(0)
  })

  it('ends with what will not change by trying again', async () => {
    start()
    Socket.all[0]!.onopen?.()
    Socket.all[0]!.say('ERROR', { kind: 'Status', code: 410, reason: 'Expired', message: 'list again' })
    await settle(60_000)

    expect(Socket.all).toHaveLength(1)
    expect((failed[0] as ApiError).code).toBe(410)
    expect(inUse.size).toBe(0)
  })

  it('takes silence for a cut, and a controller that is away for no reason to give up', async () => {
    const stop = start()
    Socket.all[0]!.onopen?.()
    await settle(151_000)
    expect(Socket.all.length).toBeGreaterThan(1)
    for (const socket of Socket.all.slice(1)) socket.onclose?.({ code: 1006 })
    await settle(40_000)

    expect(Socket.all.length).toBeGreaterThan(2)
    expect(failed).toEqual([])
    stop()
  })
})
