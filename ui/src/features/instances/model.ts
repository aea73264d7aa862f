/**
 * What the pages say of one Instance: where it stands, how it ended, what it may be asked to do. Pure.
 *
 *   Instance --standing--> one word for a block, a row, a filter
 *            --exitWords-> how a run ended, as parts that a page puts into its language
 *            --actionsOf-> restart, replace: allowed, or the key of the reason
 */

import { DEPLOYMENT_LABEL, EVICT_ANNOTATION, REVISION_LABEL } from './types'
import type { Exit, Instance, Phase, Probe } from './types'

/** Where an Instance stands, in one word. Finer than its phase: running is not ready, and waiting to start again is not starting. */
export type Standing =
  'ready' | 'notReady' | 'starting' | 'waiting' | 'backoff' | 'stopping' | 'stopped' | 'succeeded' | 'failed' | 'lost'

/** In the order in which people want to see them: trouble first. */
export const STANDINGS: readonly Standing[] = [
  'failed',
  'lost',
  'backoff',
  'notReady',
  'waiting',
  'starting',
  'stopping',
  'ready',
  'stopped',
  'succeeded',
]

const BY_PHASE: Readonly<Record<Phase, Standing>> = {
  Pending: 'waiting',
  Scheduled: 'starting',
  Preparing: 'starting',
  Starting: 'starting',
  Running: 'notReady',
  Stopping: 'stopping',
  Stopped: 'stopped',
  Succeeded: 'succeeded',
  Failed: 'failed',
  Unknown: 'lost',
}

export function standing(instance: Instance): Standing {
  const status = instance.status ?? {}
  const phase = status.phase ?? 'Pending'
  if (phase === 'Unknown') return 'lost'
  if (phase === 'Failed' || phase === 'Succeeded') return BY_PHASE[phase]
  if (instance.metadata.deletionTimestamp) return 'stopping'
  if (status.nextStartAt && phase !== 'Running') return 'backoff'
  if (phase === 'Running' && status.ready) return 'ready'
  return BY_PHASE[phase]
}

/** The name of the Deployment it belongs to; undefined for one that was made by hand. */
export function deploymentOf(instance: Instance): string | undefined {
  const owner = instance.metadata.ownerReferences?.find((one) => one.controller && one.kind === 'Deployment')
  return owner?.name ?? instance.metadata.labels?.[DEPLOYMENT_LABEL]
}

export function revisionOf(instance: Instance): string {
  return instance.metadata.labels?.[REVISION_LABEL] ?? ''
}

/** Its node is being emptied, and it is to be replaced elsewhere. */
export function isEvicted(instance: Instance): boolean {
  const asked = instance.metadata.annotations?.[EVICT_ANNOTATION]
  return asked !== undefined && asked === instance.spec.nodeName
}

/** What one run ended with: a signal, a code, or something nobody saw. */
export type ExitWords =
  | { how: 'signal'; signal: string; detail: string; finishedAt?: string; seconds?: number }
  | { how: 'code'; code: number; detail: string; finishedAt?: string; seconds?: number }
  | { how: 'unseen'; detail: string; finishedAt?: string; seconds?: number }

const SAYS_NOTHING = new Set(['Completed', 'Error'])

export function exitWords(exit: Exit | undefined): ExitWords | undefined {
  if (exit === undefined) return undefined
  const said = [exit.reason, exit.message].filter((text): text is string => Boolean(text) && !SAYS_NOTHING.has(text ?? ''))
  const common = { detail: said.join(': '), ...(exit.finishedAt ? { finishedAt: exit.finishedAt } : {}) }
  const lasted =
    exit.startedAt && exit.finishedAt
      ? { seconds: Math.max(0, (Date.parse(exit.finishedAt) - Date.parse(exit.startedAt)) / 1000) }
      : {}
  if (exit.signal) return { how: 'signal', signal: exit.signal, ...common, ...lasted }
  if (exit.code !== undefined) return { how: 'code', code: exit.code, ...common, ...lasted }
  return { how: 'unseen', ...common, ...lasted }
}

/** Why something cannot be done now: the key of a sentence; undefined when it can. */
export type Blocked = string | undefined

export interface InstanceActions {
  restart: Blocked
  replace: Blocked
  logs: Blocked
  exec: Blocked
}

/** What can be done with an Instance as it stands. Rights are asked separately. */
export function actionsOf(instance: Instance): InstanceActions {
  const where = standing(instance)
  const gone: Blocked = instance.metadata.deletionTimestamp ? 'instances.blocked.deleting' : undefined
  const unbound: Blocked = instance.spec.nodeName ? undefined : 'instances.blocked.noNode'
  const lost: Blocked = where === 'lost' ? 'instances.blocked.nodeLost' : undefined
  const ended: Blocked = where === 'failed' || where === 'succeeded' ? 'instances.blocked.ended' : undefined
  const stopped: Blocked = instance.spec.state === 'Stopped' ? 'instances.blocked.stopped' : undefined
  const runs = instance.status?.phase === 'Running' || instance.status?.phase === 'Stopping'
  return {
    restart: gone ?? unbound ?? ended ?? stopped,
    replace: gone,
    logs: unbound,
    exec: unbound ?? lost ?? (runs ? undefined : 'instances.blocked.notRunning'),
  }
}

export type ProbeName = 'startup' | 'readiness' | 'liveness'

export interface ProbeRow {
  name: ProbeName
  kind: 'http' | 'tcp' | 'exec' | 'grpc'
  /** What is asked: an address, a command. */
  asks: string
  period: string
  timeout: string
  failureThreshold: number
}

export function probeRows(instance: Instance): ProbeRow[] {
  const probes = instance.spec.template.probes ?? {}
  const names: ProbeName[] = ['startup', 'readiness', 'liveness']
  return names.flatMap((name) => {
    const probe = probes[name]
    const asked = probe && asks(probe)
    if (!probe || !asked) return []
    return [
      {
        name,
        ...asked,
        period: probe.period ?? '10s',
        timeout: probe.timeout ?? '1s',
        failureThreshold: probe.failureThreshold ?? 3,
      },
    ]
  })
}

function asks(probe: Probe): Pick<ProbeRow, 'kind' | 'asks'> | undefined {
  if (probe.http) {
    const { scheme = 'http', host = '', port, path = '/' } = probe.http
    return { kind: 'http', asks: `${scheme}://${host}:${port}${path}` }
  }
  if (probe.tcp) return { kind: 'tcp', asks: `${probe.tcp.host ?? ''}:${probe.tcp.port}` }
  if (probe.exec) return { kind: 'exec', asks: probe.exec.command.join(' ') }
  if (probe.grpc) return { kind: 'grpc', asks: `:${probe.grpc.port}${probe.grpc.service ? `/${probe.grpc.service}` : ''}` }
  return undefined
}

/** The first port that speaks http, as an address to open; undefined without one or without an address. */
export function openAddress(instance: Instance): string | undefined {
  const { address, ports } = instance.status ?? {}
  const port = ports?.find((one) => one.protocol === 'http' || one.protocol === 'https')
  if (!address || !port) return undefined
  return `${port.protocol}://${address.includes(':') ? `[${address}]` : address}:${port.port}/`
}
