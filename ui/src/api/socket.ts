/**
 * Answers that go on, over a WebSocket: what is followed must not hold one of the six plain connections that a browser opens to one
 * host for all its tabs together. WebSockets are counted apart, and there may be hundreds.
 *
 *     openSocket --> messages as a stream, until the other end closes it, the reader cancels or `signal` aborts
 */

import { fetchRaw, withQuery, type Query } from './client'
import { UnreachableError } from './errors'

export type Message = string | Uint8Array<ArrayBuffer>
type Sockets = (url: string) => WebSocket

/** Where a path of the API is for a WebSocket. */
export function socketAddress(path: string): string {
  const origin = globalThis.location?.origin ?? 'http://localhost'
  return origin.replace(/^http/, 'ws') + path
}

/**
 * Messages of a path. A refused WebSocket does not say why, so the same is asked plainly then, with `plain` instead of `query`.
 * Raises `ApiError` with the words of the API, `UnreachableError`, and the reason of `signal` when that comes first.
 */
export function openSocket(path: string, query: Query, plain: Query, signal: AbortSignal, sockets: Sockets = (url) => new WebSocket(url)): Promise<ReadableStream<Message>> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error)
    const socket = sockets(socketAddress(withQuery(path, query)))
    socket.binaryType = 'arraybuffer'
    let opened = false
    let over = false
    let out: ReadableStreamDefaultController<Message>
    const stream = new ReadableStream<Message>({ start: (controller) => void (out = controller), cancel: () => end() })

    /** Once. Without an error: the end of the messages. */
    function end(error?: unknown): void {
      if (over) return
      over = true
      signal.removeEventListener('abort', abort)
      socket.close()
      if (!opened) reject(error as Error)
      else if (error) out.error(error)
      else {
        try {
          out.close()
        } catch {
          // The reader has cancelled it.
        }
      }
    }
    const abort = (): void => end(signal.reason)
    signal.addEventListener('abort', abort)
    socket.onopen = () => {
      opened = true
      resolve(stream)
    }
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (!over) out.enqueue(typeof data === 'string' ? data : new Uint8Array(data))
    }
    socket.onclose = ({ code }) => {
      if (opened) end(code === 1000 || code === 1005 ? undefined : new UnreachableError(new Error(`closed with ${code}`)))
      else if (!over) fetchRaw('GET', path, { query: plain, signal, accept: 'application/json, text/plain' }).then(() => end(new UnreachableError(new Error('the WebSocket was refused'))), end)
    }
  })
}

/** The same as bytes, for what is read as one text. */
export function bytesOf(messages: ReadableStream<Message>): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder()
  return messages.pipeThrough(new TransformStream({ transform: (message, out) => out.enqueue(typeof message === 'string' ? encoder.encode(message) : message) }))
}
