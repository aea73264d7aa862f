/** What the palette finds, and in which order. Pure but for the reading of names. */

import { api } from '@/api/client'
import { kinds, type KindRef } from '@/api/kinds'

export interface Candidate {
  id: string
  /** What is shown. */
  label: string
  /** Shown beside it, and searched. */
  hint?: string
  keywords?: string
}

/**
 * How well a text answers: 0 for not at all. Every word has to occur; a word that begins the label or one of its parts counts more
 * than one inside, and of equal ones the shorter label wins.
 */
export function score(candidate: Candidate, query: string): number {
  return scoreOf(candidate, wordsIn(query))
}

function wordsIn(query: string): string[] {
  return query.toLowerCase().split(/\s+/).filter(Boolean)
}

function scoreOf(candidate: Candidate, words: readonly string[]): number {
  if (!words.length) return 1
  const label = candidate.label.toLowerCase()
  let rest: string | undefined
  let total = 0
  for (const word of words) {
    const at = label.indexOf(word)
    if (at === 0) total += 100
    else if (at > 0) total += /[\s\-_./]/.test(label[at - 1]!) ? 60 : 30
    else if ((rest ??= `${candidate.hint ?? ''} ${candidate.keywords ?? ''}`.toLowerCase()).includes(word)) total += 10
    else return 0
  }
  return total + Math.max(0, 20 - label.length / 4)
}

const collator = new Intl.Collator()

/** The best, best first. Only so many are kept in order: of thousands that answer most are never compared with each other. */
export function rank<T extends Candidate>(candidates: readonly T[], query: string, limit: number): T[] {
  const words = wordsIn(query)
  const best: { candidate: T; value: number }[] = []
  const isBetter = (one: { candidate: T; value: number }, other: { candidate: T; value: number }): boolean =>
    one.value !== other.value ? one.value > other.value : collator.compare(one.candidate.label, other.candidate.label) < 0
  for (const candidate of candidates) {
    const found = { candidate, value: scoreOf(candidate, words) }
    if (found.value <= 0 || (best.length === limit && !isBetter(found, best[limit - 1]!))) continue
    let at = best.length
    while (at > 0 && isBetter(found, best[at - 1]!)) at -= 1
    best.splice(at, 0, found)
    if (best.length > limit) best.pop()
  }
  return best.map(({ candidate }) => candidate)
}

export interface Named extends Candidate {
  kind: KindRef
  namespace?: string
  name: string
}

/** Names alone, without what stands in the objects: ten thousand are two megabytes, before they are compressed. */
const NOT_NAMES = [
  '/spec', '/status', '/data', '/metadata/managedFields', '/metadata/annotations', '/metadata/labels', '/metadata/ownerReferences', '/metadata/finalizers',
]
/** Milliseconds for which names are remembered. */
const FRESH = 20_000

const SEARCHED: KindRef[] = [
  kinds.Deployment, kinds.Workflow, kinds.Node, kinds.Service, kinds.Resource, kinds.Sync, kinds.Trigger, kinds.TaskDefinition, kinds.Artifact, kinds.Worker,
  kinds.Instance, kinds.WorkflowRun,
]
let remembered: { at: number; names: Promise<Named[]> } | undefined

export function objectNames(others: readonly KindRef[] = []): Promise<Named[]> {
  if (remembered && Date.now() - remembered.at < FRESH) return remembered.names
  const searched = [...SEARCHED, ...others.filter((other) => !SEARCHED.some((kind) => kind.group === other.group && kind.plural === other.plural))]
  const names = Promise.all(searched.map(namesOf)).then((lists) => lists.flat())
  remembered = { at: Date.now(), names }
  return names
}

async function namesOf(kind: KindRef): Promise<Named[]> {
  try {
    const list = await api.list(kind, { omit: NOT_NAMES })
    return list.items.map(({ metadata: { name, namespace } }) => ({ id: `${kind.plural}/${namespace ?? ''}/${name}`, label: name, hint: namespace ? `${kind.kind} · ${namespace}` : kind.kind, kind, namespace, name }))
  } catch {
    return [] // what may not be listed is not found
  }
}
