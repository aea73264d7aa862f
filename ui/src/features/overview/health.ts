/** From objects to what the overview says: how many are well, which are not, how much of the fleet is taken. Pure. */

import { at, type AnyObj } from '@/api/objects'
import { differs } from '@/components/object/compare'
import { stateOf, type ObjectState, type Tone } from '@/states'

export interface Share {
  tone: Tone
  count: number
}

export interface Health {
  total: number
  well: number
  /** Tones that occur, worst first. */
  shares: Share[]
}

const ORDER: Tone[] = ['bad', 'unknown', 'attention', 'progress', 'waiting', 'ok', 'off']

export function healthOf(objects: readonly AnyObj[]): Health {
  const counts = new Map<Tone, number>()
  for (const object of objects) {
    const { tone } = stateOf(object).look
    counts.set(tone, (counts.get(tone) ?? 0) + 1)
  }
  return {
    total: objects.length,
    well: (counts.get('ok') ?? 0) + (counts.get('off') ?? 0),
    shares: ORDER.filter((tone) => counts.has(tone)).map((tone) => ({ tone, count: counts.get(tone)! })),
  }
}

export interface Trouble {
  object: AnyObj
  state: ObjectState
}

/** What is not as it should be, worst first, then newest. What is switched off or well is left out. */
export function troubles(objects: readonly AnyObj[]): Trouble[] {
  return objects
    .map((object) => ({ object, state: stateOf(object) }))
    .filter(({ object, state }) => ['bad', 'unknown', 'attention', 'progress', 'waiting'].includes(state.look.tone) || (state.look.tone === 'ok' && differs(object)))
    .sort(
      (left, right) =>
        ORDER.indexOf(left.state.look.tone) - ORDER.indexOf(right.state.look.tone) ||
        since(right.object).localeCompare(since(left.object)) ||
        left.object.metadata.name.localeCompare(right.object.metadata.name),
    )
}

/** Since when it is as it is: the youngest change of a condition. */
export function since(object: AnyObj): string {
  const times = (object.status?.conditions ?? []).map((condition) => condition.lastTransitionTime ?? '')
  return times.sort().at(-1) || object.metadata.creationTimestamp
}

const SUFFIXES: Record<string, number> = {
  n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3, Ti: 1024 ** 4, Pi: 1024 ** 5,
}

/** `500m`, `8Gi`, `2`, `1e3`: a quantity of the API as a number; 0 for none. */
export function quantity(value: unknown): number {
  if (typeof value === 'number') return value
  if (typeof value !== 'string') return 0
  const match = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([numkMGTP]i?|Ki|)$/.exec(value.trim())
  return match ? Number(match[1]) * (SUFFIXES[match[2]!] ?? 1) : 0
}

/** Bytes as people read them. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let index = 0
  while (value >= 1024 && index < units.length - 1) {
    value /= 1024
    index += 1
  }
  return `${value >= 100 || index === 0 ? Math.round(value) : value.toFixed(1)} ${units[index]}`
}

export interface Capacity {
  resource: 'cpu' | 'memory' | 'instances'
  /** What the ready nodes offer. */
  allocatable: number
  /** What is asked for by what runs. */
  requested: number
  /** What is used, as the nodes measure it; undefined when they did not. */
  used?: number
}

/** Requests of deployments count by their instances that are there. */
export function capacity(nodes: readonly AnyObj[], deployments: readonly AnyObj[], usage: readonly { cpu: number; memory: number }[]): Capacity[] {
  const ready = nodes.filter((node) => stateOf(node).look.tone !== 'bad' && stateOf(node).look.tone !== 'unknown')
  const offered = (name: string): number => ready.reduce((sum, node) => sum + quantity(at(node, 'status', 'allocatable', name)), 0)
  const replicas = (deployment: AnyObj): number => Number(at(deployment, 'status', 'replicas') ?? 0)
  const requested = (name: string): number =>
    deployments.reduce((sum, deployment) => sum + replicas(deployment) * quantity(at(deployment, 'spec', 'template', 'resources', 'requests', name)), 0)
  const used = (name: 'cpu' | 'memory'): number | undefined => (usage.length ? usage.reduce((sum, each) => sum + each[name], 0) : undefined)
  return [
    { resource: 'cpu', allocatable: offered('cpu'), requested: requested('cpu'), used: used('cpu') },
    { resource: 'memory', allocatable: offered('memory'), requested: requested('memory'), used: used('memory') },
    { resource: 'instances', allocatable: offered('instances'), requested: deployments.reduce((sum, each) => sum + replicas(each), 0) },
  ]
}
