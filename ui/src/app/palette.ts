/** What the palette finds, and in which order. Pure but for the reading of names. */

import { request } from '@/api/client'
import { kinds, pathOf, type KindRef } from '@/api/kinds'

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
  const words = query.toLowerCase().split(/\s+/).filter(Boolean)
  if (!words.length) return 1
  const label = candidate.label.toLowerCase()
  const rest = `${candidate.hint ?? ''} ${candidate.keywords ?? ''}`.toLowerCase()
  let total = 0
  for (const word of words) {
    const at = label.indexOf(word)
    if (at === 0) total += 100
    else if (at > 0) total += /[\s\-_./]/.test(label[at - 1]!) ? 60 : 30
    else if (rest.includes(word)) total += 10
    else return 0
  }
  return total + Math.max(0, 20 - label.length / 4)
}

export function rank<T extends Candidate>(candidates: readonly T[], query: string, limit: number): T[] {
  return candidates
    .map((candidate) => ({ candidate, value: score(candidate, query) }))
    .filter(({ value }) => value > 0)
    .sort((left, right) => right.value - left.value || left.candidate.label.localeCompare(right.candidate.label))
    .slice(0, limit)
    .map(({ candidate }) => candidate)
}

export interface Named extends Candidate {
  kind: KindRef
  namespace?: string
  name: string
}

interface PartialList {
  metadata: { continue?: string }
  items: { metadata: { name: string; namespace?: string } }[]
}

/** Names alone, without what stands in the objects: a fleet of thousands is a few hundred kilobytes. */
const NAMES = 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io'
const LIMIT = 5000
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
    const list = await request<PartialList>('GET', pathOf(kind), { accept: NAMES, query: { limit: LIMIT } })
    return list.items.map(({ metadata: { name, namespace } }) => ({ id: `${kind.plural}/${namespace ?? ''}/${name}`, label: name, hint: namespace ? `${kind.kind} · ${namespace}` : kind.kind, kind, namespace, name }))
  } catch {
    return [] // what may not be listed is not found
  }
}
