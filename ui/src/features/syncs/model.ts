/** Syncs: what is asked of them, and what they answer. Pure but for the requests at the end. */

import { api } from '@/api/client'
import { kinds, pathOf } from '@/api/kinds'
import type { Sync } from '@/api/types'

export const REQUESTED = 'plum.dev/sync-requested'

/** In the order in which they are worth seeing: sign and tone of each. */
export const ACTIONS = {
  delete: ['−', 'bad'], report: ['?', 'attention'], correct: ['!', 'attention'], change: ['~', 'progress'], create: ['+', 'ok'], later: ['+', 'waiting'], keep: ['·', 'off'],
} as const
export type Action = keyof typeof ACTIONS

export interface Change {
  action: Action
  group: string
  kind: string
  namespace: string
  name: string
  detail: string
  live: Record<string, unknown> | null
  wanted: Record<string, unknown> | null
  /** File and line. */
  where?: string
  wave?: number
  /** Who changed it. */
  manager?: string
}

export interface SyncPlan {
  revision: string
  sourceRevision: string
  held: boolean
  blocked: string
  problems: { where: string; message: string }[]
  changes: Change[]
  unchanged: number
}

/** Where the manifests are, on one line. */
export function sourceOf(sync: Sync): string {
  const { git, folder, bundle } = sync.spec.source
  if (git) {
    const at = git.branch || git.tag || git.commit?.slice(0, 10) || ''
    return `${git.url}${at ? ` @ ${at}` : ''}${git.path ? ` / ${git.path}` : ''}`
  }
  return folder?.path ?? bundle?.path ?? ''
}

export function shortRevision(revision: string | null | undefined): string {
  return revision ? revision.slice(0, 10) : '–'
}

/** Whether it changes nothing now because somebody said so. */
export function isSuspended(sync: Sync, now: number): boolean {
  const until = sync.spec.suspendUntil
  return sync.spec.suspend === true || (typeof until === 'string' && Date.parse(until) > now)
}

export type Refusal = 'notBlocked' | 'noRevision' | 'thisRevision' | ''

/** Why deletions cannot be approved; empty when they can. */
export function whyNotApprove(sync: Sync): Refusal {
  return sync.status?.phase === 'Blocked' && sync.status.attemptedRevision ? '' : 'notBlocked'
}

/** Why it cannot be rolled back to a revision; empty when it can. */
export function whyNotRollBack(sync: Sync, revision: string): Refusal {
  if (!revision) return 'noRevision'
  return sync.status?.appliedRevision === revision && !sync.spec.hold ? 'thisRevision' : ''
}

export const patches = {
  now: (at: Date) => ({ metadata: { annotations: { [REQUESTED]: at.toISOString() } } }),
  suspend: (until: Date | undefined, reason: string) => ({
    spec: { suspend: !until, suspendUntil: until ? until.toISOString().replace(/\.\d+Z$/, 'Z') : null, suspendReason: reason || null },
  }),
  resume: () => ({ spec: { suspend: null, suspendUntil: null, suspendReason: null, hold: null } }),
  rollBack: (sync: Sync, revision: string, reason: string) => ({ spec: { hold: { revision, newest: sync.status?.sourceRevision ?? '', reason: reason || null } } }),
  approve: (sync: Sync) => ({ spec: { approveDelete: sync.status?.attemptedRevision } }),
}

/** How many of which action, in the order in which they are worth seeing. */
export function countsOf(changes: readonly Change[]): [Action, number][] {
  const order = Object.keys(ACTIONS)
  const counts = new Map<Action, number>()
  for (const change of changes) counts.set(change.action, (counts.get(change.action) ?? 0) + 1)
  return [...counts].sort(([left], [right]) => order.indexOf(left) - order.indexOf(right))
}

export function readPlan(namespace: string, name: string): Promise<SyncPlan> {
  return api.get<SyncPlan>(pathOf(kinds.Sync, namespace, name, 'plan'))
}
