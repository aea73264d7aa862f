/**
 * The versions of a Deployment's template: in order, with what changed from one to the next, and where an undo leads. Pure.
 */

import { conditionOf } from '@/api/objects'
import type { Template } from '../instances/types'
import type { Deployment, Revision } from './types'

export interface Change {
  /** `ports[http].port`: lists whose items have names are compared by name. */
  path: string
  before: unknown
  after: unknown
}

export interface RevisionRow {
  number: number
  hash: string
  name: string
  createdAt: string
  /** Instances are made from it now. */
  current: boolean
  /** The spec asks for it; differs from the current one after an automatic rollback. */
  desired: boolean
  state: 'available' | 'failed' | 'untried'
  cause: string
  /** Against the one before; empty for the first that is kept. */
  changes: Change[]
  template: Template
}

/** Newest first. */
export function revisionRows(deployment: Deployment, revisions: readonly Revision[]): RevisionRow[] {
  const current = deployment.status?.revisionHash ?? ''
  const desired = deployment.status?.rollout?.hash || current
  const sorted = [...revisions].sort((left, right) => left.spec.number - right.spec.number)
  return sorted
    .map((revision, at): RevisionRow => {
      const before = sorted[at - 1]?.spec.template
      const { spec, status = {}, metadata } = revision
      return {
        number: spec.number,
        hash: spec.hash,
        name: metadata.name,
        createdAt: metadata.creationTimestamp,
        current: spec.hash === current,
        desired: spec.hash === desired,
        state: status.availableAt ? 'available' : status.failedAt ? 'failed' : 'untried',
        cause: spec.changeCause ?? '',
        changes: before ? changesBetween(before, spec.template) : [],
        template: spec.template ?? {},
      }
    })
    .reverse()
}

/** Where an undo leads without a number: the revision before the one the spec asks for. After an automatic rollback that is the one
 *  that runs, because the spec still has the template that failed. */
export function undoTarget(deployment: Deployment, rows: readonly RevisionRow[]): RevisionRow | undefined {
  if (conditionOf(deployment, 'Progressing')?.reason === 'RolledBack') return rows.find((row) => row.current)
  return rows.find((row) => !row.current)
}

/** What is different between two values, leaf by leaf. */
export function changesBetween(before: unknown, after: unknown, path = ''): Change[] {
  if (isSame(before, after)) return []
  if (isMap(before) && isMap(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    return names.flatMap((name) => changesBetween(before[name], after[name], path ? `${path}.${name}` : name))
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    const [left, right] = [named(before), named(after)]
    if (left && right) {
      const names = [...new Set([...left.keys(), ...right.keys()])]
      return names.flatMap((name) => changesBetween(left.get(name), right.get(name), `${path}[${name}]`))
    }
  }
  return [{ path, before, after }]
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function named(list: readonly unknown[]): Map<string, unknown> | undefined {
  const byName = new Map<string, unknown>()
  for (const item of list) {
    const name = isMap(item) ? item.name : undefined
    if (typeof name !== 'string' || byName.has(name)) return undefined
    byName.set(name, item)
  }
  return byName
}

function isSame(left: unknown, right: unknown): boolean {
  if (left === right) return true
  if (Array.isArray(left) && Array.isArray(right))
    return left.length === right.length && left.every((item, at) => isSame(item, right[at]))
  if (!isMap(left) || !isMap(right)) return false
  const names = Object.keys(left)
  return names.length === Object.keys(right).length && names.every((name) => name in right && isSame(left[name], right[name]))
}

/** One value in a line: texts as they are, everything else as JSON. */
export function shortly(value: unknown, most = 60): string {
  if (value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.length > most ? `${text.slice(0, most - 1)}…` : text
}
