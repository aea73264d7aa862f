import { webcrypto } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Condition } from '@/api/objects'
import { instance, metadata } from '../deployments/testing'
import { bytesOfPem, controllerAddress, hex, isNodeName, joinLine, joinToken, localLine } from './join'
import {
  drainOf,
  drainPatch,
  drainPercent,
  isLabelKey,
  isLabelValue,
  labelRows,
  labelsPatch,
  nodeActions,
  nodeWord,
  pressures,
  taintsOf,
  usageOf,
} from './model'
import type { Node, NodeSpec, NodeStatus } from './types'

const NOW = new Date('2026-11-21T13:00:00.500Z')

function node(spec: NodeSpec = {}, status: NodeStatus = {}, more: object = {}): Node {
  return { apiVersion: 'plum.dev/v1', kind: 'Node', metadata: metadata('node-1', more), spec, status }
}

function conditions(...list: [string, Condition['status']][]): NodeStatus {
  return { conditions: list.map(([type, status]) => ({ type, status, observedGeneration: 1, message: 'because' })) }
}

describe('the word for a machine', () => {
  it.each([
    [node(), 'joining'],
    [node({}, conditions(['Ready', 'True'])), 'ready'],
    [node({}, conditions(['Ready', 'Unknown'])), 'unreachable'],
    [node({}, conditions(['Ready', 'False'])), 'notReady'],
    [node({ unschedulable: true }, conditions(['Ready', 'True'])), 'cordoned'],
    [node({ unschedulable: true }, conditions(['Ready', 'True'], ['DiskPressure', 'True'])), 'pressure'],
    [node({ drain: {} }, conditions(['Ready', 'True'])), 'draining'],
    [node({ drain: {} }, conditions(['Ready', 'True'], ['Drained', 'True'])), 'drained'],
  ])('is the most urgent: %#', (given, word) => {
    expect(nodeWord(given)).toBe(word)
  })

  it('names what it runs short of', () => {
    expect(pressures(node({}, conditions(['MemoryPressure', 'True'], ['DiskPressure', 'False'])))).toEqual(['MemoryPressure'])
  })
})

describe('usage', () => {
  it('adds up what the instances asked for', () => {
    const busy = instance('a', 'node-1')
    busy.spec.template.resources = { requests: { cpu: '500m', memory: '64Mi' } }
    const ended = instance('b', 'node-1', { phase: 'Failed' })
    ended.spec.template.resources = { requests: { cpu: '10' } }
    const rows = usageOf(node({}, { capacity: { memory: '1Gi', cpu: '2', instances: '100' } }), [busy, ended], { cpu: 1 })
    expect(rows.map((row) => [row.resource, row.requestedPercent, row.usedPercent])).toEqual([
      ['cpu', 25, 50],
      ['memory', 6.25, undefined],
      ['instances', 1, undefined],
    ])
  })
})

describe('a drain', () => {
  it('is asked for, goes on, and is done', () => {
    const asked = node({ drain: { requestedAt: '2026-11-21T13:00:00Z', deadlineSeconds: 60 } }, conditions(['Drained', 'False']))
    expect(drainOf(asked, [instance('a', 'node-1')])).toEqual({
      asked: true,
      done: false,
      left: 1,
      requestedAt: '2026-11-21T13:00:00Z',
      deadlineAt: '2026-11-21T13:01:00.000Z',
      message: 'because',
    })
    expect(drainOf(node({ drain: {} }, conditions(['Drained', 'True'])), []).done).toBe(true)
    expect(drainOf(node(), []).asked).toBe(false)
  })

  it('is not done because an earlier one was', () => {
    expect(drainOf(node({ drain: {} }, conditions(['Drained', 'True']), { generation: 2 }), []).done).toBe(false)
  })

  it('is shown against what was there in the beginning', () => {
    expect([drainPercent(4, 4, false), drainPercent(4, 1, false), drainPercent(0, 0, false), drainPercent(4, 1, true)]).toEqual([
      0, 75, 0, 100,
    ])
  })

  it('is asked for with a deadline', () => {
    expect(drainPatch(60, true, NOW)).toEqual({
      spec: { unschedulable: true, drain: { deadlineSeconds: 60, requestedAt: '2026-11-21T13:00:00Z', ignorePinned: false } },
    })
  })
})

describe('what can be done', () => {
  it('follows from what was asked already', () => {
    expect(nodeActions(node({ unschedulable: true }), 0)).toMatchObject({ cordon: 'nodes.blocked.cordoned', uncordon: undefined })
    expect(nodeActions(node({ drain: {} }), 0).drain).toBe('nodes.blocked.draining')
    expect(nodeActions(node(), 0).uncordon).toBe('nodes.blocked.notCordoned')
  })

  it('a machine is forgotten only when it is away and empty', () => {
    expect(nodeActions(node({}, conditions(['Ready', 'True'])), 0).remove).toBe('nodes.blocked.agentRuns')
    expect(nodeActions(node({}, conditions(['Ready', 'Unknown'])), 1).remove).toBe('nodes.blocked.inUse')
    expect(nodeActions(node({}, conditions(['Ready', 'Unknown'])), 0).remove).toBeUndefined()
  })
})

describe('labels and taints', () => {
  it('are written as what changed', () => {
    const before = { zone: 'a', rack: '1', 'plum.dev/os': 'linux' }
    const rows = labelRows(before)
    expect(rows.map((row) => [row.key, row.fixed])).toEqual([
      ['rack', false],
      ['zone', false],
      ['plum.dev/os', true],
    ])
    expect(labelsPatch(before, rows)).toBeUndefined()
    expect(
      labelsPatch(before, [
        { key: ' zone', value: 'b ', fixed: false },
        { key: 'plum.dev/os', value: 'linux', fixed: true },
        { key: '', value: 'x', fixed: false },
      ]),
    ).toEqual({
      rack: null,
      zone: 'b',
    })
  })

  it('taints of Plum stay, and an unchanged one keeps its time', () => {
    const own = { key: 'plum.dev/not-ready', effect: 'NoExecute' as const }
    const kept = { key: 'gpu', effect: 'NoSchedule' as const, timeAdded: 'then' }
    const given = node({ taints: [own, kept] })
    expect(
      taintsOf(given, [
        { key: 'gpu', effect: 'NoSchedule' },
        { key: 'new', value: 'x', effect: 'NoExecute' },
        { key: 'plum.dev/x', effect: 'NoExecute' },
      ]),
    ).toEqual([own, kept, { key: 'new', value: 'x', effect: 'NoExecute' }])
  })

  it('are checked while typing', () => {
    expect([isLabelKey('zone'), isLabelKey('plum.dev/os'), isLabelKey('-a'), isLabelKey('a/b/c'), isLabelKey('')]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
    expect([isLabelValue(''), isLabelValue('a b'), isLabelValue('A.1')]).toEqual([true, false, true])
  })
})

describe('joining', () => {
  it('asks for a token that is good once and ends', () => {
    const token = joinToken('edge-7', 3600, NOW, Uint8Array.from([0, 255, 16, 1]))
    expect(token.metadata.name).toBe('join-00ff1001')
    expect(token.spec).toEqual({
      user: 'system:bootstrap:join-00ff1001',
      groups: ['system:bootstrappers'],
      join: { node: 'edge-7' },
      expiresAt: '2026-11-21T14:00:00Z',
      description: 'to join once',
    })
    expect(joinToken('', 1, NOW, new Uint8Array(4)).spec.join).toEqual({})
  })

  it('names the authority by its digest', async () => {
    const pem = `-----BEGIN CERTIFICATE-----\n${btoa('certificate')}\n-----END CERTIFICATE-----\n`
    const digest = hex(await webcrypto.subtle.digest('SHA-256', bytesOfPem(pem)))
    expect(digest).toMatch(/^[0-9a-f]{64}$/)
    expect(joinLine('edge-7', 'https://plum:8443', 'plum_x', digest)).toBe(
      `plum agent --node edge-7 --controller https://plum:8443 --join plum_x.${digest}`,
    )
    expect(joinLine('', 'https://plum:8443', 'plum_x', '')).toBe('plum agent --controller https://plum:8443 --join plum_x')
  })

  it('sends the machine where it can be', () => {
    expect(controllerAddress('https://plum.example.com:8443', 'https://x')).toBe('https://plum.example.com:8443')
    expect(controllerAddress('http://127.0.0.1:8080', 'https://10.0.0.1:8443')).toBe('https://10.0.0.1:8443')
    expect(localLine('', 'http://127.0.0.1:8080')).toContain('--node node-2 ')
  })
})

describe('the name of a node that is to join', () => {
  it.each(['edge-7', 'a', 'rack1.north', 'x'.repeat(52)])('may be %s', (name) => expect(isNodeName(name)).toBe(true))
  it.each(['Bad Name!', '-a', 'a-', 'a..b', 'x'.repeat(53), '; rm'])('may not be %s', (name) => expect(isNodeName(name)).toBe(false))
})
