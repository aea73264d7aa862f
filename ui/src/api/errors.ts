/** What goes wrong with a request, with the words of the API's Status object. */

export interface StatusCause {
  reason?: string
  message?: string
  field?: string
}

export interface Status {
  kind: 'Status'
  code: number
  reason?: string
  message?: string
  details?: { name?: string; kind?: string; group?: string; causes?: StatusCause[]; retryAfterSeconds?: number }
}

/** The API answered and refused. */
export class ApiError extends Error {
  readonly code: number
  readonly reason: string
  readonly causes: StatusCause[]
  readonly status: Status | undefined

  constructor(code: number, message: string, status?: Status) {
    super(message)
    this.name = 'ApiError'
    this.code = code
    this.reason = status?.reason ?? ''
    this.causes = status?.details?.causes ?? strictCauses(message)
    this.status = status
  }

  get notFound(): boolean {
    return this.code === 404
  }
  /** Somebody else wrote meanwhile: read again and retry. */
  get conflict(): boolean {
    return this.code === 409
  }
  get forbidden(): boolean {
    return this.code === 403
  }
  get unauthenticated(): boolean {
    return this.code === 401
  }
  /** The revision asked for is no longer in the history: list again. */
  get expired(): boolean {
    return this.code === 410
  }
  get invalid(): boolean {
    return this.code === 422
  }
}

/** Fields that a kind has not, or that stand twice: the API names them in its message only, as Kubernetes does. */
export function strictCauses(message: string): StatusCause[] {
  if (!message.includes('strict decoding error')) return []
  return [...message.matchAll(/(unknown|duplicate) field "([^"]+)"/g)].map(([text, , field]) => ({ reason: 'FieldValueInvalid', message: text, field }))
}

/** No answer: the controller is away, or the network. */
export class UnreachableError extends Error {
  constructor(cause?: unknown) {
    super('the controller cannot be reached', { cause })
    this.name = 'UnreachableError'
  }
}

export function isStatus(value: unknown): value is Status {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'Status'
}

export function errorFromBody(code: number, body: string): ApiError {
  try {
    const parsed: unknown = JSON.parse(body)
    if (isStatus(parsed)) return new ApiError(code, parsed.message || `HTTP ${code}`, parsed)
    const detail = (parsed as { detail?: unknown; message?: unknown } | null)?.detail ?? (parsed as { message?: unknown } | null)?.message
    if (typeof detail === 'string') return new ApiError(code, detail)
  } catch {
    // not JSON: the text itself is all there is
  }
  return new ApiError(code, body.trim().slice(0, 400) || `HTTP ${code}`)
}
