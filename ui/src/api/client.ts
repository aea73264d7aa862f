/** Requests to the controller. Every answer is an object of the API or an `ApiError` with its words. */

import { errorFromBody, UnreachableError } from './errors'
import { pathOf, type KindRef } from './kinds'
import type { AnyObj, ObjList } from './objects'

export const CSRF_HEADER = 'X-Plum-CSRF'
const UNSAFE = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])
/** Who writes, as managed fields show it. */
export const FIELD_MANAGER = 'plum-ui'
/** Objects in the first answer of a list: more than a screen shows, and few enough to be there at once. */
export const FIRST_CHUNK = 200
/** Characters that a further answer should have: few answers, and none that keeps the page from drawing for long. */
const CHUNK_LENGTH = 3_000_000
/** Objects in a further answer, at least and at most. */
const SMALLEST_CHUNK = 200
const LARGEST_CHUNK = 5000

let csrfToken = ''
let onUnauthenticated: () => void = () => {}

/** Told by the session: what unsafe requests have to carry. */
export function setCsrfToken(token: string): void {
  csrfToken = token
}
export function getCsrfToken(): string {
  return csrfToken
}
/** Called when an answer is 401: the session has ended. */
export function whenUnauthenticated(callback: () => void): void {
  onUnauthenticated = callback
}

export type Query = Record<string, string | number | boolean | undefined>

export interface RequestOptions {
  query?: Query
  body?: unknown
  /** Sent as it is instead of `body` as JSON. */
  rawBody?: BodyInit
  contentType?: string
  accept?: string
  headers?: Record<string, string>
  signal?: AbortSignal
}

export function withQuery(path: string, query: Query = {}): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== '') parameters.set(name, String(value))
  const encoded = parameters.toString()
  return encoded ? `${path}${path.includes('?') ? '&' : '?'}${encoded}` : path
}

/** Ask once and get the response, whatever it is made of. Raises `ApiError` unless it is 2xx. */
export async function fetchRaw(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: options.accept ?? 'application/json', ...options.headers }
  let body: BodyInit | undefined = options.rawBody
  if (body === undefined && options.body !== undefined) {
    body = JSON.stringify(options.body)
    headers['Content-Type'] = options.contentType ?? 'application/json'
  } else if (options.contentType) headers['Content-Type'] = options.contentType
  if (UNSAFE.has(method)) headers[CSRF_HEADER] = csrfToken || '1'
  let response: Response
  try {
    response = await fetch(withQuery(path, options.query), { method, headers, body, signal: options.signal, credentials: 'same-origin' })
  } catch (error) {
    if (options.signal?.aborted) throw error
    throw new UnreachableError(error)
  }
  if (!response.ok) {
    if (response.status === 401) onUnauthenticated()
    throw errorFromBody(response.status, await response.text().catch(() => ''))
  }
  return response
}

export async function request<T = unknown>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
  return (await measured<T>(method, path, options)).value
}

/** An answer and how long its text was. */
async function measured<T>(method: string, path: string, options: RequestOptions): Promise<{ value: T; length: number }> {
  const response = await fetchRaw(method, path, options)
  const body = await response.text()
  return { value: (body ? JSON.parse(body) : undefined) as T, length: body.length }
}

export interface ListOptions {
  namespace?: string
  labelSelector?: string
  fieldSelector?: string
  /** Parts that are not wanted, as JSON pointers: `/spec/template`. */
  omit?: readonly string[]
  signal?: AbortSignal
}

export interface WriteOptions {
  /** Checked in full and not stored. */
  dryRun?: boolean
  /** Take fields that another manager owns (server-side apply). */
  force?: boolean
  subresource?: string
  signal?: AbortSignal
}

function writeQuery(options: WriteOptions): Query {
  return { dryRun: options.dryRun ? 'All' : undefined, fieldManager: FIELD_MANAGER, fieldValidation: 'Strict' }
}

function where(kind: KindRef, object: { metadata: { name: string; namespace?: string } }, subresource?: string): string {
  return pathOf(kind, object.metadata.namespace, object.metadata.name, subresource)
}

type ChunkOptions = ListOptions & { limit?: number; continue?: string }

function chunkOf<T>(kind: KindRef, options: ChunkOptions): Promise<{ value: ObjList<T>; length: number }> {
  const { namespace, signal, omit, ...rest } = options
  return measured<ObjList<T>>('GET', pathOf(kind, namespace), { query: { ...rest, omit: omit?.join(',') }, signal })
}

/** Requests by kind. Names in paths, never in bodies alone. */
export const api = {
  get: <T = unknown>(path: string, query?: Query, signal?: AbortSignal): Promise<T> => request<T>('GET', path, { query, signal }),
  post: <T = unknown>(path: string, body?: unknown, query?: Query): Promise<T> => request<T>('POST', path, { body: body ?? {}, query }),

  read: <T = AnyObj>(kind: KindRef, namespace: string | undefined, name: string, query?: Query, signal?: AbortSignal): Promise<T> =>
    request<T>('GET', pathOf(kind, namespace, name), { query, signal }),

  /** One chunk of a list. */
  listChunk: async <T = AnyObj>(kind: KindRef, options: ChunkOptions = {}): Promise<ObjList<T>> => (await chunkOf<T>(kind, options)).value,

  /** All of it, chunk by chunk, as large as their objects allow. `progress` hears after each chunk. */
  async list<T = AnyObj>(kind: KindRef, options: ListOptions = {}, progress?: (items: T[], remaining: number) => void): Promise<ObjList<T>> {
    let next: string | undefined
    let limit = FIRST_CHUNK
    const items: T[] = []
    for (;;) {
      const { value: chunk, length } = await chunkOf<T>(kind, { ...options, limit, continue: next })
      for (const item of chunk.items) items.push(item)
      next = chunk.metadata.continue || undefined
      progress?.(items, chunk.metadata.remainingItemCount ?? 0)
      if (!next) return { ...chunk, items }
      const each = length / Math.max(1, chunk.items.length)
      limit = Math.round(Math.max(SMALLEST_CHUNK, Math.min(LARGEST_CHUNK, CHUNK_LENGTH / each)))
    }
  },

  create: <T = AnyObj>(kind: KindRef, object: { metadata: { name?: string; generateName?: string; namespace?: string } }, options: WriteOptions = {}): Promise<T> =>
    request<T>('POST', pathOf(kind, object.metadata.namespace), { body: object, query: writeQuery(options), signal: options.signal }),

  /** Only when nobody wrote since it was read (resourceVersion), else `ApiError.conflict`. */
  replace: <T = AnyObj>(kind: KindRef, object: { metadata: { name: string; namespace?: string } }, options: WriteOptions = {}): Promise<T> =>
    request<T>('PUT', where(kind, object, options.subresource), { body: object, query: writeQuery(options), signal: options.signal }),

  /** Merge patch: named fields only, null removes. */
  patch: <T = AnyObj>(kind: KindRef, object: { metadata: { name: string; namespace?: string } }, patch: unknown, options: WriteOptions = {}): Promise<T> =>
    request<T>('PATCH', where(kind, object, options.subresource), {
      body: patch, contentType: 'application/merge-patch+json', query: writeQuery(options), signal: options.signal,
    }),

  /** Server-side apply: the object's fields become those of this manager. */
  apply: <T = AnyObj>(kind: KindRef, object: { metadata: { name: string; namespace?: string } }, options: WriteOptions = {}): Promise<T> =>
    request<T>('PATCH', where(kind, object), {
      body: object, contentType: 'application/apply-patch+yaml', query: { ...writeQuery(options), force: options.force ? 'true' : undefined }, signal: options.signal,
    }),

  delete: (kind: KindRef, namespace: string | undefined, name: string, options: { propagation?: 'Background' | 'Foreground' | 'Orphan'; dryRun?: boolean } = {}): Promise<unknown> =>
    request('DELETE', pathOf(kind, namespace, name), {
      query: { propagationPolicy: options.propagation ?? 'Background', dryRun: options.dryRun ? 'All' : undefined },
    }),
}
