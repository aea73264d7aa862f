/**
 * Uploading a package in pieces, so that what was interrupted goes on where it was.
 *
 *   begin -> piece, piece, ... -> finish          a lost answer: ask where the upload is, go on from there
 *
 * The server says how far it is; nothing here believes that a piece has arrived because it was sent.
 */

import { ApiError, UnreachableError } from '@/api/errors'

export const PIECE_BYTES = 4 * 1024 * 1024
/** How often a piece is tried again, and how long is waited before the first time, in milliseconds. */
export const TRIES = 6
const FIRST_WAIT = 500

export interface Place {
  id: string
  offset: number
}

/** The requests, so that a test needs no server. */
export interface Wire {
  begin(size: number): Promise<Place>
  /** `sent` hears how many bytes of the piece are on their way. */
  append(id: string, offset: number, piece: Blob, sent: (bytes: number) => void): Promise<Place>
  where(id: string): Promise<Place>
  finish(id: string): Promise<unknown>
  cancel(id: string): Promise<unknown>
}

export interface Progress {
  phase: 'sending' | 'waiting' | 'checking' | 'done'
  /** Bytes on their way or there. */
  sent: number
  total: number
  /** Bytes per second over the last moments; 0 while not known. */
  rate: number
}

export interface Upload<T> {
  done: Promise<T>
  cancel: () => void
}

export class CancelledError extends Error {
  constructor() {
    super('the upload was cancelled')
    this.name = 'CancelledError'
  }
}

export interface Clock {
  now(): number
  wait(milliseconds: number): Promise<void>
}

const REAL: Clock = {
  now: () => performance.now(),
  wait: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
}

export function upload<T>(file: Blob, wire: Wire, told: (progress: Progress) => void, clock: Clock = REAL): Upload<T> {
  let cancelled = false
  let id = ''
  const rate = new Rate(clock)
  const tell = (phase: Progress['phase'], sent: number): void => {
    if (!cancelled) told({ phase, sent, total: file.size, rate: rate.at(sent) })
  }
  const check = (): void => {
    if (cancelled) throw new CancelledError()
  }
  const run = async (): Promise<T> => {
    let place = await wire.begin(file.size)
    id = place.id
    let failures = 0
    while (place.offset < file.size) {
      check()
      const from = place.offset
      tell('sending', from)
      try {
        const piece = file.slice(from, Math.min(file.size, from + PIECE_BYTES))
        place = await wire.append(id, from, piece, (bytes) => tell('sending', Math.min(file.size, from + bytes)))
        failures = 0
      } catch (error) {
        check()
        if (!mayGoOn(error) || (failures += 1) > TRIES) throw error
        tell('waiting', from)
        await clock.wait(FIRST_WAIT * 2 ** (failures - 1))
        check()
        place = await wire.where(id).catch((reason: unknown) => {
          if (reason instanceof UnreachableError) return place
          throw reason
        })
      }
    }
    check()
    tell('checking', file.size)
    const made = (await wire.finish(id)) as T
    tell('done', file.size)
    return made
  }
  return {
    done: run().catch(async (error: unknown) => {
      // What was refused is gone at the server already; a cancelled one is taken away now instead of in a day.
      if (cancelled && id) await wire.cancel(id).catch(() => undefined)
      throw cancelled ? new CancelledError() : error
    }),
    cancel: () => {
      cancelled = true
    },
  }
}

/** No answer, another place than ours (409), too many at once, or a server that is starting: the upload is still there. */
export function mayGoOn(error: unknown): boolean {
  if (error instanceof UnreachableError) return true
  return error instanceof ApiError && [409, 429, 502, 503, 504].includes(error.code)
}

class Rate {
  private readonly seen: [number, number][] = []

  constructor(private readonly clock: Clock) {}

  at(sent: number): number {
    const now = this.clock.now()
    this.seen.push([now, sent])
    while (this.seen.length > 2 && now - (this.seen[0]?.[0] ?? 0) > 3000) this.seen.shift()
    const [since, before] = this.seen[0] ?? [now, sent]
    return now - since < 200 ? 0 : Math.max(0, ((sent - before) * 1000) / (now - since))
  }
}
