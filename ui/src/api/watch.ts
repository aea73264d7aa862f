/**
 * One collection kept up to date: listed in chunks, then watched from there, with resume.
 *
 *     list (chunks) --> items --> WebSocket watch from its revision --> applyEvents --> items ...
 *                                   cut: `staleSince` is set, connect again from the last revision seen
 *                                   410: list again; what is on the screen stays there until the new list is complete
 *
 * A WebSocket per collection, because browsers open only six plain connections per host and a watch never ends.
 * What was last seen is never thrown away because a connection was: it is shown with the time since when it may be old.
 */

import { shallowReactive } from 'vue'
import { applyEvents, collectionOf, mustListAgain, type Collection, type WatchEvent } from './applyEvent'
import { api, withQuery, type ListOptions } from './client'
import { ApiError, isStatus } from './errors'
import { pathOf, type KindRef } from './kinds'
import type { AnyObj } from './objects'

const FIRST_RETRY = 500
/** Milliseconds. Long enough to spare a controller that starts, short enough to be forgotten. */
const LAST_RETRY = 15_000
/** Milliseconds. The controller sends a bookmark each minute; a connection that is silent for longer is not one. */
const SILENCE = 150_000
/** Milliseconds in which events are collected before they are drawn. */
const FLUSH = 50
/** Milliseconds that a collection lives on after the last page that used it: going back shows it at once. */
const LINGER = 15_000

export type LiveState = 'loading' | 'live' | 'stale' | 'refused'

/** What pages see of a collection. */
export interface Live<T = AnyObj> {
  /** All objects, in no order. A new array whenever something changed. */
  items: readonly T[]
  state: LiveState
  /** Milliseconds since 1970 when the connection was cut; 0 while it is live. */
  staleSince: number
  /** Objects that were read and that are still to come, while it is loading. */
  loaded: number
  remaining: number
  /** Why it is refused or stale. */
  error: Error | undefined
}

type Sockets = (url: string) => WebSocket

export class LiveCollection<T extends AnyObj = AnyObj> {
  readonly view: Live<T> = shallowReactive({ items: [], state: 'loading', staleSince: 0, loaded: 0, remaining: 0, error: undefined })

  private collection: Collection<T> = collectionOf<T>([], '')
  private pending: WatchEvent<T>[] = []
  private flushTimer: ReturnType<typeof setTimeout> | undefined
  private retryTimer: ReturnType<typeof setTimeout> | undefined
  private silenceTimer: ReturnType<typeof setTimeout> | undefined
  private retry = FIRST_RETRY
  private socket: WebSocket | undefined
  private listing: AbortController | undefined
  private closed = false

  constructor(
    private readonly kind: KindRef,
    private readonly options: ListOptions,
    private readonly keepManagedFields: boolean,
    private readonly sockets: Sockets = (url) => new WebSocket(url),
  ) {}

  start(): void {
    globalThis.addEventListener?.('online', this.hurry)
    globalThis.document?.addEventListener('visibilitychange', this.hurry)
    void this.list()
  }

  close(): void {
    this.closed = true
    globalThis.removeEventListener?.('online', this.hurry)
    globalThis.document?.removeEventListener('visibilitychange', this.hurry)
    this.listing?.abort()
    for (const timer of [this.flushTimer, this.retryTimer, this.silenceTimer]) clearTimeout(timer)
    this.drop()
  }

  /** Connect now instead of after the pause: the machine is back on the network, or somebody looks again. */
  readonly hurry = (): void => {
    if (this.closed || this.retryTimer === undefined || globalThis.document?.hidden) return
    clearTimeout(this.retryTimer)
    this.retryTimer = undefined
    this.goOn()
  }

  private goOn(): void {
    if (this.closed) return
    if (this.collection.resourceVersion) this.watch()
    else void this.list()
  }

  private later(error: Error | undefined): void {
    if (this.closed || this.retryTimer !== undefined) return
    if (!this.view.staleSince) this.view.staleSince = Date.now()
    this.view.error = error
    if (this.view.state === 'live') this.view.state = 'stale'
    const pause = this.retry * (0.75 + Math.random() / 2)
    this.retry = Math.min(this.retry * 2, LAST_RETRY)
    this.retryTimer = setTimeout(() => {
      this.retryTimer = undefined
      this.goOn()
    }, pause)
  }

  private refuse(error: ApiError): void {
    this.view.error = error
    this.view.state = 'refused'
    this.view.staleSince = 0
  }

  private async list(): Promise<void> {
    this.listing?.abort()
    const listing = (this.listing = new AbortController())
    const first = this.view.items.length === 0
    try {
      const list = await api.list<T>(this.kind, { ...this.options, signal: listing.signal }, (items, remaining) => {
        this.view.loaded = items.length
        this.view.remaining = remaining
        // The first list is shown as it grows; a later one replaces what is shown when it is complete.
        if (first && remaining > 0) this.view.items = items.slice()
      })
      if (this.closed || listing.signal.aborted) return
      this.forgetManagedFields(list.items)
      for (const item of list.items) {
        // Items of a list carry no kind of their own in some answers.
        item.kind ||= this.kind.kind
        item.apiVersion ||= this.kind.group ? `${this.kind.group}/${this.kind.version}` : this.kind.version
      }
      this.collection = collectionOf(list.items, list.metadata.resourceVersion ?? '')
      this.view.items = list.items
      this.view.remaining = 0
      this.watch()
    } catch (error) {
      if (this.closed || listing.signal.aborted) return
      if (error instanceof ApiError && (error.forbidden || error.notFound || error.code === 400)) this.refuse(error)
      else this.later(error as Error)
    }
  }

  private watch(): void {
    this.drop()
    const { namespace, labelSelector, fieldSelector } = this.options
    const path = withQuery(pathOf(this.kind, namespace), {
      watch: 'true', allowWatchBookmarks: 'true', resourceVersion: this.collection.resourceVersion, labelSelector, fieldSelector,
    })
    const origin = globalThis.location?.origin ?? 'http://localhost'
    const socket = this.sockets(origin.replace(/^http/, 'ws') + path)
    this.socket = socket
    let opened = false
    socket.onopen = () => {
      if (this.socket !== socket) return
      opened = true
      this.listen()
      this.view.state = 'live'
      this.view.staleSince = 0
      this.view.error = undefined
    }
    socket.onmessage = (message: MessageEvent<string>) => {
      if (this.socket !== socket) return
      this.listen()
      this.retry = FIRST_RETRY
      for (const line of message.data.split('\n')) if (line) this.take(JSON.parse(line) as WatchEvent<T>)
    }
    socket.onclose = () => {
      if (this.socket !== socket) return
      this.drop()
      this.flush()
      if (opened) this.later(undefined)
      else void this.askWhy()
    }
  }

  /** A refused WebSocket does not say why; a plain request does. */
  private async askWhy(): Promise<void> {
    try {
      await api.listChunk(this.kind, { ...this.options, limit: 1 })
      this.later(undefined)
    } catch (error) {
      if (error instanceof ApiError && error.forbidden) this.refuse(error)
      else this.later(error as Error)
    }
  }

  private take(event: WatchEvent<T>): void {
    if (event.type === 'ERROR') {
      const again = mustListAgain(event)
      const error = isStatus(event.object) ? new ApiError(event.object.code, event.object.message ?? '', event.object) : undefined
      this.drop()
      this.flush()
      if (again) this.collection = collectionOf<T>([], '')
      // A collection that was emptied for a new list keeps its `view` until the list is complete.
      if (again && this.retry === FIRST_RETRY) void this.list()
      else this.later(error)
      return
    }
    if (!isStatus(event.object)) this.forgetManagedFields([event.object])
    this.pending.push(event)
    this.flushTimer ??= setTimeout(() => this.flush(), FLUSH)
  }

  private flush(): void {
    clearTimeout(this.flushTimer)
    this.flushTimer = undefined
    if (!this.pending.length) return
    const next = applyEvents(this.collection, this.pending)
    this.pending = []
    if (next.items !== this.collection.items) this.view.items = [...next.items.values()]
    this.collection = next
  }

  private forgetManagedFields(items: readonly T[]): void {
    if (!this.keepManagedFields) for (const item of items) delete item.metadata.managedFields
  }

  private listen(): void {
    clearTimeout(this.silenceTimer)
    this.silenceTimer = setTimeout(() => {
      this.drop()
      this.later(undefined)
    }, SILENCE)
  }

  private drop(): void {
    clearTimeout(this.silenceTimer)
    const socket = this.socket
    this.socket = undefined
    socket?.close()
  }
}

// ---- shared between the parts of a page

interface Shared {
  live: LiveCollection
  users: number
  lingering: ReturnType<typeof setTimeout> | undefined
}

const shared = new Map<string, Shared>()
/** All collections in use: the shell shows the oldest `staleSince`. */
export const inUse: Set<Live> = shallowReactive(new Set<Live>())

/** Use a collection; whoever asks for the same gets the same. Call the second part of the answer when done. */
export function acquire<T extends AnyObj>(kind: KindRef, options: ListOptions, keepManagedFields = false): [Live<T>, () => void] {
  const key = withQuery(pathOf(kind, options.namespace), {
    labelSelector: options.labelSelector, fieldSelector: options.fieldSelector, managed: keepManagedFields || undefined,
  })
  let entry = shared.get(key)
  if (!entry) {
    entry = { live: new LiveCollection(kind, options, keepManagedFields), users: 0, lingering: undefined }
    shared.set(key, entry)
    entry.live.start()
  }
  const mine = entry
  clearTimeout(mine.lingering)
  mine.users += 1
  inUse.add(mine.live.view)
  let released = false
  const release = (): void => {
    if (released) return
    released = true
    mine.users -= 1
    if (mine.users > 0) return
    inUse.delete(mine.live.view)
    // What was refused is asked again by the next page: roles may have changed.
    const linger = mine.live.view.state === 'refused' ? 0 : LINGER
    mine.lingering = setTimeout(() => {
      shared.delete(key)
      mine.live.close()
    }, linger)
  }
  return [mine.live.view as Live<T>, release]
}

/** Connect everything again now, after signing in for instance. */
export function hurryAll(): void {
  for (const { live } of shared.values()) live.hurry()
}
