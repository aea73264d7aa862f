/** What a Token proves, and how one is asked for. Pure. */

import type { Token } from '@/api/types'

export const USES = ['token', 'session', 'link', 'join', 'certificate'] as const
export type Use = (typeof USES)[number]

export function useOf(token: Token): Use {
  const spec = token.spec as Token['spec'] & { login?: { link?: boolean }; join?: object; certificate?: string }
  if (spec.login) return spec.login.link ? 'link' : 'session'
  if (spec.join) return 'join'
  return spec.certificate ? 'certificate' : 'token'
}

/** The node that a token to join with was used by: it is good for nothing else any more. */
export function usedBy(token: Token): string {
  return (token.status as { used?: { node?: string } } | undefined)?.used?.node ?? ''
}

/** Whether it is worth anything at a time. */
export function isOver(token: Token, now: number): boolean {
  const ends = token.spec.expiresAt
  return typeof ends === 'string' && Date.parse(ends) <= now
}

/** Lives that are offered, in days; 0: until it is revoked. */
export const LIVES = [1, 7, 30, 90, 365, 0] as const

export interface Wanted {
  user: string
  groups: string
  days: number
  description: string
}

/** Names separated by commas or spaces, each once. */
export function groupsOf(text: string): string[] {
  return [...new Set(text.split(/[\s,;，、]+/).filter(Boolean))]
}

/** Roles for everything in the cluster that people may be given with a token; those that the system keeps for itself are left out. */
export function rolesToGive(names: readonly string[]): string[] {
  return names.filter((name) => !name.includes(':')).sort()
}

/** What gives a user a role everywhere. One name for user and role, so that a second token of the same user needs no second one. */
export function bindingOf(user: string, role: string) {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: `${role}:${user}` },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
  }
}

/** The Token to create. `now` in milliseconds. */
export function tokenOf(wanted: Wanted, now: number) {
  const ends = wanted.days ? new Date(now + wanted.days * 86_400_000).toISOString().replace(/\.\d+Z$/, 'Z') : undefined
  return {
    apiVersion: 'plum.dev/v1',
    kind: 'Token',
    metadata: { generateName: 'token-' },
    spec: {
      user: wanted.user.trim(),
      groups: groupsOf(wanted.groups),
      ...(wanted.description.trim() ? { description: wanted.description.trim() } : {}),
      ...(ends ? { expiresAt: ends } : {}),
    },
  }
}
