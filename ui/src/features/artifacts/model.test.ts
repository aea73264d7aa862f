import { describe, expect, it } from 'vitest'
import { ApiError, UnreachableError } from '@/api/errors'
import { deployment, instance, metadata } from '../deployments/testing'
import { artifactRows, compareVersions } from './model'
import type { Artifact } from './types'
import { CancelledError, PIECE_BYTES, TRIES, mayGoOn, upload } from './upload'
import type { Progress, Wire } from './upload'

function artifact(name: string, version: string): Artifact {
  return { apiVersion: 'plum.dev/v1', kind: 'Artifact', metadata: metadata(`${name}-${version}`), spec: { name, version } }
}

describe('versions', () => {
  it('are ordered as people count', () => {
    const sorted = ['1.10.0', '1.9.1', '2.0.0-rc.2', '2.0.0', '2.0.0-rc.10', 'v1.0', '1.9'].sort(compareVersions)
    expect(sorted).toEqual(['v1.0', '1.9', '1.9.1', '1.10.0', '2.0.0-rc.2', '2.0.0-rc.10', '2.0.0'])
  })
})

describe('rows of packages', () => {
  it('say who uses which version', () => {
    const source = { artifact: { name: 'app', version: '1.9.0' } }
    const old = instance('web-0', 'node-1')
    old.spec.template = source
    const rows = artifactRows(
      [artifact('app', '1.9.0'), artifact('app', '1.10.0'), artifact('api', '1')],
      [deployment({ template: { artifact: { name: 'app', version: '1.10.0' } } })],
      [old],
    )
    expect(
      rows.map((row) => [row.artifact.spec.name, row.artifact.spec.version, row.newest, row.deployments, row.instances]),
    ).toEqual([
      ['api', '1', true, [], 0],
      ['app', '1.10.0', true, ['web'], 0],
      ['app', '1.9.0', false, ['web'], 1],
    ])
  })
})

const FILE = new Blob([new Uint8Array(PIECE_BYTES * 2 + 10)])

class Server implements Wire {
  offset = 0
  finished = false
  cancelled = false
  /** Errors to raise at the next appends; `after` stores the piece first, as when only the answer is lost. */
  faults: { error: Error; after: boolean }[] = []

  async begin(): Promise<{ id: string; offset: number }> {
    return { id: 'u', offset: 0 }
  }
  async append(_id: string, offset: number, piece: Blob, sent: (bytes: number) => void): Promise<{ id: string; offset: number }> {
    if (offset !== this.offset) throw new ApiError(409, `offset is ${offset}`)
    const fault = this.faults.shift()
    if (!fault || fault.after) this.offset += piece.size
    if (fault) throw fault.error
    sent(piece.size)
    return { id: 'u', offset: this.offset }
  }
  async where(): Promise<{ id: string; offset: number }> {
    return { id: 'u', offset: this.offset }
  }
  async finish(): Promise<string> {
    this.finished = true
    return 'made'
  }
  async cancel(): Promise<void> {
    this.cancelled = true
  }
}

const clock = () => {
  let now = 0
  return { now: () => (now += 100), wait: async (milliseconds: number) => void (now += milliseconds) }
}

describe('uploading', () => {
  it('sends everything once and says how far it is', async () => {
    const server = new Server()
    const seen: Progress[] = []
    await expect(upload(FILE, server, (progress) => seen.push(progress), clock()).done).resolves.toBe('made')
    expect(server.offset).toBe(FILE.size)
    expect(seen.at(-1)).toMatchObject({ phase: 'done', sent: FILE.size })
    expect(seen.map((one) => one.sent)).toEqual([...seen.map((one) => one.sent)].sort((left, right) => left - right))
    expect(seen.some((one) => one.rate > 0)).toBe(true)
  })

  it('goes on where the server is, whether the piece or only its answer was lost', async () => {
    const server = new Server()
    server.faults = [
      { error: new UnreachableError(), after: true },
      { error: new ApiError(503, 'starting'), after: false },
    ]
    await upload(FILE, server, () => undefined, clock()).done
    expect(server.offset).toBe(FILE.size)
    expect(server.finished).toBe(true)
  })

  it('gives up what is refused, and what does not come back', async () => {
    const refused = new Server()
    refused.faults = [{ error: new ApiError(413, 'too large'), after: false }]
    await expect(upload(FILE, refused, () => undefined, clock()).done).rejects.toThrow('too large')
    const away = new Server()
    away.faults = Array.from({ length: TRIES + 1 }, () => ({ error: new UnreachableError(), after: false }))
    await expect(upload(FILE, away, () => undefined, clock()).done).rejects.toBeInstanceOf(UnreachableError)
    expect(away.finished).toBe(false)
  })

  it('takes away what was cancelled', async () => {
    const server = new Server()
    const running = upload(FILE, server, () => running.cancel(), clock())
    await expect(running.done).rejects.toBeInstanceOf(CancelledError)
    expect(server.cancelled).toBe(true)
    expect(server.finished).toBe(false)
  })

  it('knows what can be tried again', () => {
    expect([
      mayGoOn(new UnreachableError()),
      mayGoOn(new ApiError(409, '')),
      mayGoOn(new ApiError(422, '')),
      mayGoOn(new Error()),
    ]).toEqual([true, true, false, false])
  })
})
