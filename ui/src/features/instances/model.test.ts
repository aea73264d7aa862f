import { describe, expect, it } from 'vitest'
import { STANDINGS, actionsOf, deploymentOf, exitWords, isEvicted, openAddress, probeRows, standing } from './model'
import type { Instance, InstanceStatus } from './types'

function instance(
  status: InstanceStatus,
  more: Partial<Instance['spec']> = {},
  metadata: Partial<Instance['metadata']> = {},
): Instance {
  const given = { name: 'web-1', namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' }
  return {
    apiVersion: 'plum.dev/v1',
    kind: 'Instance',
    metadata: { ...given, ...metadata },
    spec: { nodeName: 'node-1', template: {}, ...more },
    status,
  }
}

describe('where an instance stands', () => {
  it.each([
    [{}, 'waiting'],
    [{ phase: 'Scheduled' }, 'starting'],
    [{ phase: 'Preparing' }, 'starting'],
    [{ phase: 'Running' }, 'notReady'],
    [{ phase: 'Running', ready: true }, 'ready'],
    [{ phase: 'Starting', nextStartAt: '2026-01-01T00:00:00Z' }, 'backoff'],
    [{ phase: 'Failed' }, 'failed'],
    [{ phase: 'Unknown', ready: true }, 'lost'],
    [{ phase: 'Stopped' }, 'stopped'],
  ] as [InstanceStatus, string][])('%j is %s', (status, word) => {
    expect(standing(instance(status))).toBe(word)
  })

  it('is stopping once its deletion was asked for, but stays failed', () => {
    const deleted = { deletionTimestamp: '2026-01-01T00:00:00Z' }
    expect(standing(instance({ phase: 'Running', ready: true }, {}, deleted))).toBe('stopping')
    expect(standing(instance({ phase: 'Failed' }, {}, deleted))).toBe('failed')
  })

  it('lists every word once', () => {
    expect(new Set(STANDINGS).size).toBe(10)
  })
})

describe('how a run ended', () => {
  it('says signal, code or that nobody saw it', () => {
    expect(exitWords({ signal: 'SIGKILL', code: 137, reason: 'OutOfMemory' })).toMatchObject({
      how: 'signal',
      detail: 'OutOfMemory',
    })
    expect(exitWords({ code: 1, reason: 'Error' })).toEqual({ how: 'code', code: 1, detail: '' })
    expect(exitWords({ reason: 'Unknown' })).toMatchObject({ how: 'unseen', detail: 'Unknown' })
    expect(exitWords(undefined)).toBeUndefined()
  })

  it('knows how long it lasted', () => {
    const exit = { code: 0, startedAt: '2026-01-01T00:00:00Z', finishedAt: '2026-01-01T00:00:02Z' }
    expect(exitWords(exit)).toMatchObject({ seconds: 2, finishedAt: '2026-01-01T00:00:02Z' })
  })
})

describe('what can be done', () => {
  it('everything with one that runs', () => {
    expect(actionsOf(instance({ phase: 'Running', ready: true }))).toEqual({
      restart: undefined,
      replace: undefined,
      logs: undefined,
      exec: undefined,
    })
  })

  it('no logs and no commands without a node', () => {
    const blocked = actionsOf(instance({ phase: 'Pending' }, { nodeName: '' }))
    expect(blocked.logs).toBe('instances.blocked.noNode')
    expect(blocked.exec).toBe('instances.blocked.noNode')
  })

  it('no command beside what does not run, and the reason says which', () => {
    expect(actionsOf(instance({ phase: 'Failed' })).exec).toBe('instances.blocked.notRunning')
    expect(actionsOf(instance({ phase: 'Unknown' })).exec).toBe('instances.blocked.nodeLost')
  })
})

describe('probes and addresses', () => {
  it('are shown as what they ask', () => {
    const rows = probeRows(
      instance(
        {},
        {
          template: {
            probes: {
              readiness: { http: { port: 'http', path: '/up' }, period: '2s' },
              liveness: { exec: { command: ['ls', '-l'] } },
            },
          },
        },
      ),
    )
    expect(rows.map((row) => [row.name, row.kind, row.asks, row.period])).toEqual([
      ['readiness', 'http', 'http://:http/up', '2s'],
      ['liveness', 'exec', 'ls -l', '10s'],
    ])
  })

  it('opens the first port that a browser understands', () => {
    const ports = [
      { name: 'raw', port: 1, protocol: 'tcp' },
      { name: 'web', port: 8080, protocol: 'http' },
    ]
    expect(openAddress(instance({ address: '10.0.0.1', ports }))).toBe('http://10.0.0.1:8080/')
    expect(openAddress(instance({ address: 'fd00::1', ports }))).toBe('http://[fd00::1]:8080/')
    expect(openAddress(instance({ ports }))).toBeUndefined()
  })
})

describe('owners', () => {
  it('are known by reference first, by label otherwise', () => {
    const owner = { apiVersion: 'plum.dev/v1', kind: 'Deployment', name: 'web', uid: '1', controller: true }
    expect(deploymentOf(instance({}, {}, { ownerReferences: [owner] }))).toBe('web')
    expect(deploymentOf(instance({}, {}, { labels: { 'plum.dev/deployment': 'api' } }))).toBe('api')
    expect(deploymentOf(instance({}))).toBeUndefined()
  })

  it('an eviction counts on the node that is emptied only', () => {
    expect(isEvicted(instance({}, {}, { annotations: { 'plum.dev/evict': 'node-1' } }))).toBe(true)
    expect(isEvicted(instance({}, {}, { annotations: { 'plum.dev/evict': 'node-2' } }))).toBe(false)
  })
})
