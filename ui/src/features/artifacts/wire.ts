/** The requests of an upload. XMLHttpRequest, because fetch does not tell how much of a body is on its way. */

import { CSRF_HEADER, getCsrfToken, request } from '@/api/client'
import { UnreachableError, errorFromBody } from '@/api/errors'
import type { Place, Wire } from './upload'

export function artifactWire(namespace: string, query: { name?: string; version?: string }): Wire & { abort: () => void } {
  const root = `/v1/artifacts/${encodeURIComponent(namespace)}`
  const of = (id: string): string => `${root}/uploads/${encodeURIComponent(id)}`
  let sending: XMLHttpRequest | undefined
  return {
    begin: (size) => request<Place>('POST', `${root}/uploads`, { query: { size } }),
    where: (id) => request<Place>('GET', of(id)),
    finish: (id) => request('POST', `${of(id)}/finish`, { query: { ...query, fieldManager: 'plum-ui' } }),
    cancel: (id) => request('DELETE', of(id)),
    append: (id, offset, piece, sent) =>
      new Promise<Place>((resolve, reject) => {
        const xhr = (sending = new XMLHttpRequest())
        xhr.open('PATCH', `${of(id)}?offset=${offset}`)
        xhr.setRequestHeader('Content-Type', 'application/octet-stream')
        xhr.setRequestHeader(CSRF_HEADER, getCsrfToken() || '1')
        xhr.upload.onprogress = (event) => sent(event.loaded)
        xhr.onload = () => {
          if (xhr.status >= 200 && xhr.status < 300) resolve(JSON.parse(xhr.responseText) as Place)
          else reject(errorFromBody(xhr.status, xhr.responseText))
        }
        xhr.onerror = xhr.onabort = () => reject(new UnreachableError())
        xhr.send(piece)
      }),
    abort: () => sending?.abort(),
  }
}
