import { afterEach, describe, expect, it, vi } from 'vitest'
import { ApiError, UnreachableError } from './errors'
import { bytesOf, openSocket } from './socket'

/** A socket of a controller that the test plays. */
class Socket {
  onopen: (() => void) | null = null
  onmessage: ((message: { data: string | ArrayBuffer }) => void) | null = null
  onclose: ((event: { code: number }) => void) | null = null
  closed = false
  constructor(readonly url: string) {}
  close(): void {
    this.closed = true
  }
}
function opening(signal = new AbortController().signal): { socket: Socket; stream: ReturnType<typeof openSocket> } {
  let socket: Socket | undefined
  const stream = openSocket('/log', { follow: true }, { tailLines: 1 }, signal, (url) => (socket = new Socket(url)) as unknown as WebSocket)
  return { socket: socket!, stream }
}
afterEach(() => vi.unstubAllGlobals())

describe('an answer over a WebSocket', () => {
  it('is a stream of its messages, text or bytes, that ends when the other side ends it', async () => {
    const { socket, stream } = opening()
    socket.onopen?.()
    socket.onmessage?.({ data: 'grüß ' })
    socket.onmessage?.({ data: new TextEncoder().encode('dich\n').buffer as ArrayBuffer })
    socket.onclose?.({ code: 1000 })

    expect(socket.url).toMatch(/^ws.*\/log\?follow=true$/)
    expect(await new Response(bytesOf(await stream)).text()).toBe('grüß dich\n')
  })

  it('tells a cut from an end, after what came before it', async () => {
    const { socket, stream } = opening()
    socket.onopen?.()
    const reader = (await stream).getReader()
    const first = reader.read()
    socket.onmessage?.({ data: 'a' })
    expect((await first).value).toBe('a')
    socket.onclose?.({ code: 1006 })

    await expect(reader.read()).rejects.toBeInstanceOf(UnreachableError)
  })

  it('is closed when its reader leaves, or its signal says so, also before it is open', async () => {
    const left = opening()
    left.socket.onopen?.()
    await (await left.stream).cancel()
    expect(left.socket.closed).toBe(true)

    const controller = new AbortController()
    const early = opening(controller.signal)
    controller.abort()
    await expect(early.stream).rejects.toThrow('abort')
    expect(early.socket.closed).toBe(true)
  })

  it('asks plainly why it was refused', async () => {
    const asked: string[] = []
    vi.stubGlobal('fetch', async (url: string) => {
      asked.push(url)
      return new Response(JSON.stringify({ kind: 'Status', code: 409, reason: 'Conflict', message: 'it waits for a node' }), { status: 409 })
    })
    const { socket, stream } = opening()
    socket.onclose?.({ code: 1006 })

    const error = await stream.catch((problem: unknown) => problem)
    expect(error).toBeInstanceOf(ApiError)
    expect((error as ApiError).message).toContain('it waits for a node')
    expect(asked).toEqual(['/log?tailLines=1'])
  })
})
