/** All kinds that the API serves, those that users define included. */

import { computed, shallowRef, toValue, watchEffect, type ComputedRef, type MaybeRefOrGetter } from 'vue'
import { api } from './client'
import { kinds, type KindRef } from './kinds'

interface ResourceList {
  groupVersion: string
  resources: { name: string; kind: string; namespaced: boolean; verbs: string[]; shortNames?: string[]; singularName?: string }[]
}

export interface KnownKind extends KindRef {
  verbs: string[]
  shortNames: string[]
  /** Views show objects of Plum's kinds a second time, for clients of Kubernetes. */
  view: boolean
}

/** Groups whose kinds are views of Plum's own. */
const VIEWS = new Set(['apps', 'events.k8s.io', 'discovery.k8s.io', 'batch', 'metrics.k8s.io'])
const CORE_VIEWS = new Set(['pods', 'nodes', 'services', 'endpoints', 'bindings', 'componentstatuses'])

const found = shallowRef<KnownKind[]>([])
let reading: Promise<KnownKind[]> | undefined
let readAt = 0
/** Milliseconds after which kinds are asked for again. */
const FRESH = 30_000

export async function discover(force = false): Promise<KnownKind[]> {
  if (reading && !force && Date.now() - readAt < FRESH) return reading
  readAt = Date.now()
  reading = read()
  reading.catch(() => (reading = undefined))
  found.value = await reading
  return found.value
}

async function read(): Promise<KnownKind[]> {
  const groups = await api.get<{ groups: { versions: { groupVersion: string }[]; preferredVersion: { groupVersion: string } }[] }>('/apis')
  const versions = ['v1', ...groups.groups.map((group) => group.preferredVersion.groupVersion)]
  const lists = await Promise.all(versions.map((version) => api.get<ResourceList>(version.includes('/') ? `/apis/${version}` : `/api/${version}`)))
  return lists.flatMap(({ groupVersion, resources }) => {
    const [group, version] = groupVersion.includes('/') ? (groupVersion.split('/') as [string, string]) : ['', groupVersion]
    return resources
      .filter((resource) => !resource.name.includes('/') && resource.verbs.includes('list'))
      .map((resource) => ({
        group, version, kind: resource.kind, plural: resource.name, namespaced: resource.namespaced, verbs: resource.verbs,
        shortNames: resource.shortNames ?? [], view: VIEWS.has(group) || (group === '' && CORE_VIEWS.has(resource.name)),
      }))
  })
}

export interface UseKind {
  kind: ComputedRef<KindRef | undefined>
  error: ComputedRef<Error | undefined>
}

/** The kind behind an address: known by name at once, others after a look at the API. */
export function useKind(wanted: MaybeRefOrGetter<{ group: string; version: string; plural: string }>): UseKind {
  const same = (kind: KindRef): boolean => {
    const { group, version, plural } = toValue(wanted)
    return kind.group === group && kind.version === version && kind.plural === plural
  }
  const error = shallowRef<Error>()
  const kind = computed(() => (Object.values(kinds) as KindRef[]).find(same) ?? found.value.find(same))
  watchEffect(() => {
    if (kind.value) return
    discover()
      .then((all) => {
        if (!all.some(same)) error.value = new Error(`${toValue(wanted).plural}: the API serves no such kind`)
      })
      .catch((reason: Error) => (error.value = reason))
  })
  return { kind, error: computed(() => (kind.value ? undefined : error.value)) }
}

/** All kinds, once they are known. */
export function useKinds(): ComputedRef<readonly KnownKind[]> {
  void discover().catch(() => undefined)
  return computed(() => found.value)
}
