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

import { nextTick, shallowReactive } from 'vue'
import { applyEvents, collectionOf, mustListAgain, type Collection, type WatchEvent } from './applyEvent'
import { api, withQuery, type ListOptions } from './client'
import { ApiError, isStatus } from './errors'
import { apiVersionOf, pathOf, type KindRef } from './kinds'
import { keyOf, type AnyObj } from './objects'
import { socketAddress } from './socket'

export const FIRST_RETRY = 500
/** Milliseconds. Long enough to spare a controller that starts, short enough to be forgotten. */
export const LAST_RETRY = 15_000
/** Milliseconds. The controller sends a bookmark each minute; a connection that is silent for longer is not one. */
export const SILENCE = 150_000
/** Milliseconds in which events are collected before they are drawn. */
const FLUSH = 50
/** How many times as long as drawing takes it rests between two drawings: with many changes on a slow machine the page still answers. */
const REST = 3
/** Milliseconds between drawings of a first list that grows. */
const GROW = 400
/** Who owns which field is in no table. */
const MANAGED_FIELDS = '/metadata/managedFields'
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
  private refusals = 0
  private nextFlush = 0
  private readonly options: ListOptions
  private listing: AbortController | undefined
  private closed = false

  constructor(
    private readonly kind: KindRef,
    options: ListOptions,
    keepManagedFields: boolean,
    private readonly sockets: Sockets = (url) => new WebSocket(url),
  ) {
    this.options = { ...options, omit: omitted(options, keepManagedFields) }
  }

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
    let shownAt = 0
    try {
      const list = await api.list<T>(this.kind, { ...this.options, signal: listing.signal }, (items, remaining) => {
        // The first list is shown as it grows; a later one replaces what is shown when it is complete, so that nothing flickers.
        if (!first || remaining <= 0) return
        this.view.loaded = items.length
        this.view.remaining = remaining
        const now = performance.now()
        if (shownAt && now - shownAt < GROW) return
        shownAt = now
        this.view.items = items.map((item) => this.named(item))
      })
      if (this.closed || listing.signal.aborted) return
      const known = this.collection.items
      const items = list.items.map((item) => {
        // What did not change meanwhile stays the object that it was: nothing has to be drawn anew for it.
        const before = known.get(keyOf(item))
        return before?.metadata.uid === item.metadata.uid && before.metadata.resourceVersion === item.metadata.resourceVersion ? before : this.named(item)
      })
      this.collection = collectionOf(items, list.metadata.resourceVersion ?? '')
      this.view.items = items
      this.view.remaining = 0
      this.watch()
    } catch (error) {
      if (this.closed || listing.signal.aborted) return
      if (error instanceof ApiError && (error.forbidden || error.notFound || error.code === 400)) this.refuse(error)
      else this.later(error as Error)
    }
  }

  /** Items of a list carry no kind of their own in some answers. */
  private named(item: T): T {
    item.kind ||= this.kind.kind
    item.apiVersion ||= apiVersionOf(this.kind)
    return item
  }

  private watch(): void {
    this.drop()
    const { namespace, labelSelector, fieldSelector, omit } = this.options
    const path = withQuery(pathOf(this.kind, namespace), {
      watch: 'true', allowWatchBookmarks: 'true', resourceVersion: this.collection.resourceVersion, labelSelector, fieldSelector, omit: omit?.join(','),
    })
    const socket = this.sockets(socketAddress(path))
    this.socket = socket
    let opened = false
    socket.onopen = () => {
      if (this.socket !== socket) return
      opened = true
      this.refusals = 0
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

  /**
   * A refused WebSocket does not say why; a plain request does. Where lists are answered and watches are refused again and again, each
   * attempt lists: behind a proxy that lets no WebSocket through the page still moves, and still says that it is not live.
   */
  private async askWhy(): Promise<void> {
    try {
      await api.listChunk(this.kind, { ...this.options, limit: 1 })
      this.refusals += 1
      if (this.refusals > 1) this.forget()
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
      if (again) this.forget()
      // A collection that was emptied for a new list keeps its `view` until the list is complete.
      if (again && this.retry === FIRST_RETRY) void this.list()
      else this.later(error)
      return
    }
    this.pending.push(event)
    this.flushTimer ??= setTimeout(() => this.flush(), Math.max(FLUSH, this.nextFlush - performance.now()))
  }

  /** The next attempt lists instead of going on from a revision. What is known stays until that list is complete. */
  private forget(): void {
    this.collection = { items: this.collection.items, resourceVersion: '' }
  }

  private flush(): void {
    clearTimeout(this.flushTimer)
    this.flushTimer = undefined
    if (!this.pending.length) return
    const began = performance.now()
    const next = applyEvents(this.collection, this.pending)
    this.pending = []
    const changed = next.items !== this.collection.items
    this.collection = next
    if (!changed) return
    this.view.items = [...next.items.values()]
    void nextTick(() => (this.nextFlush = performance.now() + REST * (performance.now() - began)))
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

function omitted(options: ListOptions, keepManagedFields: boolean): string[] {
  return [...(keepManagedFields ? [] : [MANAGED_FIELDS]), ...(options.omit ?? [])]
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
    labelSelector: options.labelSelector, fieldSelector: options.fieldSelector, omit: omitted(options, keepManagedFields).join(','),
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

/** What else is followed and may be hurried. */
export const hurries = new Set<() => void>()

/** Connect everything again now, after signing in for instance. */
export function hurryAll(): void {
  for (const { live } of shared.values()) live.hurry()
  for (const hurry of hurries) hurry()
}
