/**
 * Following a log: opened, read, and opened again where it was when the connection is cut or a run ends and the next begins.
 *
 * A line comes once: what was shown already is known by its time, and by its text for those of the same time.
 */

import { LineSplitter } from './logLines'

export interface LogQuery {
  follow: boolean
  previous: boolean
  /** Undefined: from the beginning. */
  tailLines?: number
  sinceSeconds?: number
  stream: 'all' | 'stdout' | 'stderr'
}

export type ReaderState = 'connecting' | 'live' | 'again' | 'ended' | 'failed'

export interface Told {
  lines(lines: string[]): void
  state(state: ReaderState, error?: unknown): void
}

export type Parameters_ = Record<string, string>
export type Open = (parameters: Parameters_, signal: AbortSignal) => Promise<ReadableStream<Uint8Array>>

const FIRST_WAIT = 500
const LAST_WAIT = 8000
const TIME = /^\S+/

export class LogReader {
  private controller = new AbortController()
  private lastTime = ''
  /** Lines of the last time that were shown. */
  private atLastTime: string[] = []

  constructor(
    private readonly open: Open,
    private readonly told: Told,
    /** Whether anything can still come: false once the Instance has ended for good. */
    private readonly mayGoOn: () => boolean,
    private readonly wait: (milliseconds: number) => Promise<void> = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds)),
  ) {}

  stop(): void {
    this.controller.abort()
  }

  async run(query: LogQuery): Promise<void> {
    const { signal } = this.controller
    let pause = FIRST_WAIT
    while (!signal.aborted) {
      this.told.state(this.lastTime ? 'again' : 'connecting')
      try {
        if (await this.readOnce(query, signal)) pause = FIRST_WAIT
      } catch (error) {
        if (signal.aborted) return
        // A refusal stays one; only what may pass is tried again.
        if (!query.follow || isFinal(error)) return this.told.state('failed', error)
        this.told.state('again', error)
      }
      if (signal.aborted) return
      if (!query.follow || query.previous || !this.mayGoOn()) return this.told.state('ended')
      await this.wait(pause)
      pause = Math.min(pause * 2, LAST_WAIT)
    }
  }

  /** True when something came. */
  private async readOnce(query: LogQuery, signal: AbortSignal): Promise<boolean> {
    const reader = (await this.open(this.parameters(query), signal)).getReader()
    const splitter = new LineSplitter()
    const skip = [...this.atLastTime]
    const since = this.lastTime
    let came = false
    this.told.state('live')
    const take = (lines: string[]): void => {
      const fresh = since ? lines.filter((line) => !this.known(line, since, skip)) : lines
      if (fresh.length === 0) return
      came = true
      for (const line of fresh) this.remember(line)
      this.told.lines(fresh)
    }
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      take(splitter.push(value))
    }
    if (!signal.aborted) take(splitter.end())
    return came
  }

  private known(line: string, since: string, skip: string[]): boolean {
    const time = TIME.exec(line)?.[0] ?? ''
    if (time < since) return true
    const at = time === since ? skip.indexOf(line) : -1
    if (at < 0) return false
    skip.splice(at, 1)
    return true
  }

  private remember(line: string): void {
    const time = TIME.exec(line)?.[0] ?? ''
    if (time === this.lastTime) this.atLastTime.push(line)
    else if (time > this.lastTime) {
      this.lastTime = time
      this.atLastTime = [line]
    }
  }

  private parameters(query: LogQuery): Parameters_ {
    const parameters: Parameters_ = { timestamps: 'true', stream: query.stream }
    if (query.follow && !query.previous) parameters.follow = 'true'
    if (query.previous) parameters.previous = 'true'
    if (this.lastTime) parameters.sinceTime = this.lastTime
    else {
      if (query.tailLines !== undefined) parameters.tailLines = String(query.tailLines)
      if (query.sinceSeconds !== undefined) parameters.sinceSeconds = String(query.sinceSeconds)
    }
    return parameters
  }
}

function isFinal(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'number' && code >= 400 && code < 500 && code !== 409 && code !== 429
}
