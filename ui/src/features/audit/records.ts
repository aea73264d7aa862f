/** Records of the audit log, and what is asked for of it. Pure but for `readRecords`. */

import { api } from '@/api/client'
import type { KindRef } from '@/api/kinds'
import type { AnyObj } from '@/api/objects'

/** Not a kind, but judged like one: `list` on `audit` in `plum.dev`. */
export const AUDIT: KindRef = { group: 'plum.dev', version: 'v1', kind: 'AuditRecord', plural: 'audit', namespaced: false }
export const PATH = '/apis/plum.dev/v1/audit'

export interface AuditRecord {
  seq: number
  time: string
  user: string
  verb: string
  code: number
  groups?: string[]
  credential?: string
  impersonator?: string
  address?: string
  agent?: string
  group?: string
  resource?: string
  subresource?: string
  namespace?: string
  name?: string
  path?: string
  reason?: string
  revision?: number
  unrecorded?: number
}

export interface Verification {
  intact: boolean
  records: number
  first: number
  last: number
  head: string
  problem: string
}

export type Outcome = 'succeeded' | 'refused' | 'failed'
export const OUTCOMES = ['succeeded', 'refused', 'failed'] as const

/** A record as a row of a table. */
export type Row = AnyObj & { record: AuditRecord }

export interface Page {
  items: AuditRecord[]
  metadata: { continue?: string }
}

export function rowOf(record: AuditRecord): Row {
  const name = String(record.seq)
  return {
    apiVersion: 'plum.dev/v1', kind: 'AuditRecord', spec: undefined, record,
    metadata: { name, uid: name, resourceVersion: name, creationTimestamp: record.time },
  }
}

export function outcomeOf(record: AuditRecord): Outcome {
  return record.code < 400 ? 'succeeded' : record.code === 401 || record.code === 403 ? 'refused' : 'failed'
}

/** `configmaps/status default/web`, or the path of what is no object. */
export function subjectOf(record: AuditRecord): string {
  if (!record.resource) return record.path ?? ''
  const place = [record.namespace, record.name].filter(Boolean).join('/')
  return [record.resource + (record.subresource ? `/${record.subresource}` : ''), place].filter(Boolean).join(' ')
}

export type RecordQuery = { outcome?: string; user?: string; namespace?: string }

export function readRecords(query: RecordQuery & { continue?: string }, limit: number, signal?: AbortSignal): Promise<Page> {
  return api.get<Page>(PATH, { ...query, limit }, signal)
}
