/**
 * What is told and not listed: the reasons of an object, records of the audit log. Followed over a WebSocket, with resume.
 *
 *     openSocket --> events --> `told` ... cut: "not live since", again after a pause, from where `query` says then
 *                           --> refused, gone, expired: `failed`, and no more attempts
 */

import { shallowReactive } from 'vue'
import type { WatchEvent } from './applyEvent'
import type { Query } from './client'
import { ApiError, isStatus } from './errors'
import { openSocket } from './socket'
import { FIRST_RETRY, LAST_RETRY, SILENCE, hurries, inUse, type Live } from './watch'

export interface Followed<T> {
  path: string
  /** Asked before each attempt: what was told meanwhile need not be told again. */
  query: () => Query
  /** What to ask plainly for, when the WebSocket is refused, to hear why. */
  plain: Query
  told: (object: T) => void
  failed: (error: unknown) => void
}

/** Until what it answers with is called. */
export function follow<T>({ path, query, plain, told, failed }: Followed<T>): () => void {
  const controller = new AbortController()
  const { signal } = controller
  const view: Live = shallowReactive({ items: [], state: 'loading', staleSince: 0, loaded: 0, remaining: 0, error: undefined })
  let wake: () => void = () => undefined
  const hurry = (): void => wake()

  async function read(): Promise<void> {
    // One that says nothing for longer than bookmarks come is taken for cut, without ending all of it.
    const attempt = new AbortController()
    const leave = (): void => attempt.abort()
    signal.addEventListener('abort', leave)
    let silence: ReturnType<typeof setTimeout> | undefined
    const listen = (): void => {
      clearTimeout(silence)
      silence = setTimeout(leave, SILENCE)
    }
    try {
      const reader = (await openSocket(path, { ...query(), watch: true }, plain, attempt.signal)).getReader()
      view.staleSince = 0
      view.state = 'live'
      listen()
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        listen()
        for (const line of String(part.value).split('\n')) {
          if (!line) continue
          const { type, object } = JSON.parse(line) as WatchEvent
          if (type === 'ERROR') throw isStatus(object) ? new ApiError(object.code, object.message ?? '', object) : new Error(line)
          if (type !== 'BOOKMARK') told(object as unknown as T)
        }
      }
    } finally {
      clearTimeout(silence)
      signal.removeEventListener('abort', leave)
    }
  }

  async function run(): Promise<void> {
    let pause = FIRST_RETRY
    while (!signal.aborted) {
      const began = Date.now()
      try {
        await read()
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof ApiError && error.code >= 400 && error.code < 500 && error.code !== 429) {
          stop()
          return failed(error)
        }
      }
      if (Date.now() - began > SILENCE) pause = FIRST_RETRY
      view.staleSince ||= Date.now()
      view.state = 'stale'
      await new Promise<void>((done) => {
        wake = done
        setTimeout(done, pause * (0.75 + Math.random() / 2))
      })
      pause = Math.min(pause * 2, LAST_RETRY)
    }
  }

  function stop(): void {
    controller.abort()
    inUse.delete(view)
    hurries.delete(hurry)
    wake()
  }
  inUse.add(view)
  hurries.add(hurry)
  void run()
  return stop
}
