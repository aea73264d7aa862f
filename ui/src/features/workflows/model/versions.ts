/** Versions of a workflow, from its Revisions. */
import type { Obj } from '@/api'

/** Fields that are no part of what a run does: they make no version, and a rollback leaves them. `workflow_versions.py` has the same. */
const NOT_DEFINITION: ReadonlySet<string> = new Set(['state', 'archived', 'tags', 'owner', 'keepRuns', 'concurrencyPolicy', 'maxConcurrent', 'description'])

type Fields = Record<string, unknown>

export type VersionObject = Obj<{ number: number; definition?: Fields; changeCause?: string }, { reason?: string }>

export interface Version {
  number: number
  /** First used; empty if the API does not say. */
  createdAt: string
  cause: string
  definition: Fields
}

/** Newest first; only those of the workflow that lives now, not of an earlier one of the same name. */
export function versionsOf(revisions: readonly VersionObject[], uid: string): Version[] {
  return revisions
    .filter((one) => one.metadata.ownerReferences?.some((owner) => owner.uid === uid))
    .map((one) => ({ number: one.spec.number, createdAt: one.metadata.creationTimestamp ?? '', cause: one.spec.changeCause ?? '', definition: one.spec.definition ?? {} }))
    .sort((a, b) => b.number - a.number)
}

/** What a version does, to be compared. */
export function definitionOf(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !NOT_DEFINITION.has(name)))
}

/** The definition of then, with the state and the keeping of now. */
export function restored(then: Fields, live: Fields): Fields {
  return { ...definitionOf(then), ...Object.fromEntries(Object.entries(live).filter(([name]) => NOT_DEFINITION.has(name))) }
}
