/**
 * The nodes of a run as the server tells them, and what follows from them: which row belongs to which node of a graph, how a loop
 * goes on, what all iterations of a body are like together.
 *
 *     key "again[00000002].sweep" --parseKey--> stage main, path [again[2], sweep]        shown: again[2].sweep
 */
import { i18n } from '@/app/i18n'
import type { Json } from '@/components/yaml/json'
import type { Scope } from '../../workflows/model/definition'

export const NODE_PHASES = ['Pending', 'Running', 'Waiting', 'Succeeded', 'Failed', 'Skipped', 'UpstreamFailed', 'Canceled'] as const
export type NodePhase = (typeof NODE_PHASES)[number]
export const RUN_PHASES = ['Queued', 'Pending', 'Running', 'Paused', 'Succeeded', 'Failed', 'Canceled', 'Timeout'] as const
export type RunPhase = (typeof RUN_PHASES)[number]

const ENDED: ReadonlySet<string> = new Set(['Succeeded', 'Failed', 'Skipped', 'UpstreamFailed', 'Canceled'])
const RUN_ENDED: ReadonlySet<string> = new Set(['Succeeded', 'Failed', 'Canceled', 'Timeout'])

export interface Row {
  key: string
  name?: string
  type?: string
  phase?: string
  attempt?: number
  reason?: string
  message?: string
  outcome?: string
  output?: Json
  startedAt?: string
  finishedAt?: string
  dueAt?: string
  timeoutAt?: string
  waitsFor?: string
  made?: string
  iteration?: number
  total?: number
  folded?: Record<string, number>
  failures?: number
  reused?: boolean
}

export interface KeyPart {
  name: string
  iteration: number | null
}
export interface ParsedKey {
  stage: 'main' | 'onFailure' | 'finally'
  path: KeyPart[]
}

export function isEnded(phase: string | undefined): boolean {
  return ENDED.has(phase ?? '')
}

export function runEnded(phase: string | undefined): boolean {
  return RUN_ENDED.has(phase ?? '')
}

export function parseKey(key: string): ParsedKey {
  const colon = key.indexOf(':')
  const stage = colon > 0 ? (key.slice(0, colon) as ParsedKey['stage']) : 'main'
  const path = key.slice(colon + 1).split('.').map((part) => {
    const match = /^(.*)\[(\d+)\]$/.exec(part)
    return match ? { name: match[1] as string, iteration: Number(match[2]) } : { name: part, iteration: null }
  })
  return { stage, path }
}

/** The key of a node of a graph, in the given iterations of the loops and maps around it. */
export function keyIn(scope: Scope, iterations: readonly number[], name: string): string {
  const around = scope.bodies.map((body, index) => `${body}[${String(iterations[index] ?? 0).padStart(8, '0')}].`).join('')
  return `${scope.part === 'main' ? '' : `${scope.part}:`}${around}${name}`
}

/** As people write it. */
export function shownKey(key: string): string {
  return key.replace(/\[0*(\d+)\]/g, '[$1]')
}

/** Rows by key. */
export function byKey(rows: readonly Row[]): Map<string, Row> {
  return new Map(rows.map((row) => [row.key, row]))
}

/** The iterations of a body that rows know, in rising order. */
export function iterationsOf(rows: Iterable<Row>, ownerKey: string): number[] {
  const found = new Set<number>()
  for (const row of rows) {
    if (!row.key.startsWith(`${ownerKey}[`)) continue
    const number = /^(\d+)\]/.exec(row.key.slice(ownerKey.length + 1))?.[1]
    if (number !== undefined) found.add(Number(number))
  }
  return [...found].sort((a, b) => a - b)
}

/** How a node ended or goes on, as one short text: `3 of 10`, the outcome of a branch. */
export function progressOf(row: Row | undefined): { done: number; total: number | null } | null {
  if (!row || (row.type !== 'loop' && row.type !== 'map') || row.iteration === undefined || row.iteration === null) return null
  return { done: row.iteration + 1, total: row.total ?? null }
}

/** Seconds between start and end, or until now. */
export function secondsOf(row: Row, now: number): number | null {
  if (!row.startedAt) return null
  const end = row.finishedAt ? Date.parse(row.finishedAt) : now
  return Math.max(0, (end - Date.parse(row.startedAt)) / 1000)
}

/** `builtin.echo` and branches made nothing; others made a TaskRun or an inner run. */
export function madeOf(row: Row | undefined): { kind: string; name: string } | null {
  const match = /^([A-Za-z]+)\/(.+)$/.exec(row?.made ?? '')
  return match ? { kind: match[1] as string, name: match[2] as string } : null
}

/** How many rows are in each phase. */
export function countPhases(rows: Iterable<Row>): Record<string, number> {
  const found: Record<string, number> = {}
  for (const row of rows) {
    const phase = row.phase ?? 'Pending'
    found[phase] = (found[phase] ?? 0) + 1
  }
  return found
}

/** Seconds as people read them: 0.2 s, 12 s, 3m 05s, 2h 10m. */
export function shortSeconds(seconds: number, language: string = i18n.global.locale.value): string {
  const [days, hours, minutes, unit, thousandth] = language === 'zh' ? ['天', '小时', '分', '秒', '毫秒'] : ['d', 'h', 'm', 's', 'ms']
  const two = (count: number): string => String(Math.floor(count)).padStart(2, '0')
  if (seconds < 0.0005) return `0${unit}`
  if (seconds < 1) return `${Math.round(seconds * 1000)}${thousandth}`
  if (seconds < 10) return `${(Math.round(seconds * 10) / 10).toString()}${unit}`
  if (seconds < 60) return `${Math.round(seconds)}${unit}`
  const whole = Math.round(seconds)
  if (whole < 3600) return `${Math.floor(whole / 60)}${minutes}${two(whole % 60)}${unit}`
  if (whole < 86_400) return `${Math.floor(whole / 3600)}${hours}${two((whole % 3600) / 60)}${minutes}`
  return `${Math.floor(whole / 86_400)}${days}${two((whole % 86_400) / 3600)}${hours}`
}
