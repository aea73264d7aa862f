/**
 * Wanted and running as rows of blocks, one row for each node, one block for each instance: what a page draws. Pure.
 *
 *   Deployment + its Instances --blockRows--> [{node, wanted, blocks: [ready, ready, missing], ...}]
 *
 * Blocks keep their places while their colours change: they are ordered by age and name, never by state. What is wanted and
 * not there is a block too, an empty one.
 */

import { isEvicted, revisionOf, standing } from '../instances/model'
import type { Standing } from '../instances/model'
import type { Instance } from '../instances/types'
import { wantedOf } from './rollout'
import type { Deployment } from './types'

/** On an instance that runs elsewhere because its node was lost: the node that it belongs to. */
export const HOME_ANNOTATION = 'plum.dev/home-node'

export type BlockState = Standing | 'missing'

export interface Block {
  /** `namespace/name`; empty for what is missing. */
  key: string
  name: string
  state: BlockState
  /** Of another template than the current one, or on its way off this node. */
  old: boolean
  /** The node it belongs to, when it runs on another. */
  home: string
  restarts: number
  /** What it says of itself when it is not well. */
  says: string
}

export interface BlockRow {
  /** Empty: no node yet. */
  node: string
  /** Wanted here, where the Deployment says so node by node. */
  wanted: number | undefined
  blocks: Block[]
  ready: number
}

const DOES_NOT_COUNT: ReadonlySet<BlockState> = new Set(['failed', 'lost', 'stopping', 'missing'])

export function blockRows(deployment: Deployment, instances: readonly Instance[]): BlockRow[] {
  const perNode = deployment.spec.nodeReplicas
  const current = deployment.status?.revisionHash ?? ''
  const rows = new Map<string, BlockRow>()
  const counted = new Map<string, number>()
  const row = (node: string): BlockRow => {
    const known = rows.get(node)
    if (known) return known
    const made: BlockRow = { node, wanted: perNode ? (perNode[node] ?? 0) : undefined, blocks: [], ready: 0 }
    rows.set(node, made)
    return made
  }
  for (const node of Object.keys(perNode ?? {})) row(node)
  for (const instance of [...instances].sort(byAge)) {
    const node = instance.spec.nodeName ?? ''
    const block = blockOf(instance, current)
    const into = row(node)
    into.blocks.push(block)
    if (block.state === 'ready') into.ready += 1
    if (!DOES_NOT_COUNT.has(block.state)) {
      const group = perNode ? block.home || node : ''
      counted.set(group, (counted.get(group) ?? 0) + 1)
    }
  }
  const wanted: [string, number][] = perNode ? Object.entries(perNode) : [['', wantedOf(deployment.spec)]]
  for (const [node, count] of wanted) {
    const missing = count - (counted.get(node) ?? 0)
    if (missing > 0) row(node).blocks.push(...Array.from({ length: missing }, () => MISSING))
  }
  return [...rows.values()].sort((left, right) => byName(left.node, right.node))
}

const MISSING: Block = { key: '', name: '', state: 'missing', old: false, home: '', restarts: 0, says: '' }

function blockOf(instance: Instance, current: string): Block {
  const { metadata, spec, status = {} } = instance
  const state = standing(instance)
  const home = metadata.annotations?.[HOME_ANNOTATION] ?? ''
  return {
    key: `${metadata.namespace ?? ''}/${metadata.name}`,
    name: metadata.name,
    state,
    old: (current !== '' && revisionOf(instance) !== current) || isEvicted(instance),
    home: home !== spec.nodeName ? home : '',
    restarts: status.restarts ?? 0,
    says: state === 'ready' ? '' : status.message || status.reason || '',
  }
}

/** How many blocks are in which state, for words, for a screen reader, and for what is drawn when there are too many. */
export function countStates(blocks: Iterable<Block>): Map<BlockState, number> {
  const counts = new Map<BlockState, number>()
  for (const block of blocks) counts.set(block.state, (counts.get(block.state) ?? 0) + 1)
  return counts
}

export interface Segment {
  state: BlockState
  count: number
  /** Share of the row, 0 to 1. */
  share: number
}

const ORDER: readonly BlockState[] = [
  'ready',
  'notReady',
  'starting',
  'waiting',
  'stopping',
  'backoff',
  'lost',
  'failed',
  'missing',
  'stopped',
  'succeeded',
]

/** A row as a bar: what is drawn when single blocks would be too small to see. */
export function segmentsOf(blocks: readonly Block[]): Segment[] {
  const counts = countStates(blocks)
  return ORDER.flatMap((state) => {
    const count = counts.get(state) ?? 0
    return count > 0 ? [{ state, count, share: count / blocks.length }] : []
  })
}

/** Instances by the Deployment that owns them, as `namespace/name`; those of nobody are left out. */
export function byDeployment(
  instances: Iterable<Instance>,
  ownerOf: (instance: Instance) => string | undefined,
): Map<string, Instance[]> {
  const groups = new Map<string, Instance[]>()
  for (const instance of instances) {
    const owner = ownerOf(instance)
    if (owner === undefined) continue
    const key = `${instance.metadata.namespace ?? ''}/${owner}`
    const group = groups.get(key)
    if (group) group.push(instance)
    else groups.set(key, [instance])
  }
  return groups
}

function byAge(left: Instance, right: Instance): number {
  const [one, other] = [left.metadata.creationTimestamp ?? '', right.metadata.creationTimestamp ?? '']
  return one < other ? -1 : one > other ? 1 : byName(left.metadata.name, right.metadata.name)
}

const collator = new Intl.Collator('en', { numeric: true })

/** `node-2` before `node-10`. */
export function byName(left: string, right: string): number {
  return collator.compare(left, right)
}

/** Where blocks of a grid are: how many fit, how high it becomes, and which one is under a point. */
export interface Grid {
  columns: number
  rows: number
  size: number
  gap: number
  height: number
}

/** Blocks become smaller when there are many, and never so small that they cannot be told apart. */
export function gridFor(count: number, width: number, mostRows = 6): Grid {
  for (const [size, gap] of [
    [14, 4],
    [11, 3],
    [8, 2],
    [6, 1],
  ] as const) {
    const columns = Math.max(1, Math.floor((width + gap) / (size + gap)))
    const rows = Math.max(1, Math.ceil(count / columns))
    if (rows <= mostRows || size === 6) return { columns, rows, size, gap, height: rows * (size + gap) - gap }
  }
  throw new Error('unreachable')
}

/** The index of the block at a point, or -1. */
export function blockAt(grid: Grid, count: number, x: number, y: number): number {
  const step = grid.size + grid.gap
  const column = Math.floor(x / step)
  const index = Math.floor(y / step) * grid.columns + column
  const inside = x >= 0 && y >= 0 && column < grid.columns && x % step <= grid.size && y % step <= grid.size
  return inside && index < count ? index : -1
}
