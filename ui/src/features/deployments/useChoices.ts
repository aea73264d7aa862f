/** What the drop-downs of the form offer: packages and their versions, images, nodes, services, as they are now. */

import { computed, type ComputedRef } from 'vue'
import { kinds } from '@/api/kinds'
import { useList } from '@/api/useLive'
import { compareVersions } from '../artifacts/model'
import type { Artifact } from '../artifacts/types'
import type { Node } from '../nodes/types'
import type { Endpoint, Service } from '../services/types'
import { byName } from './blocks'
import type { Deployment } from './types'

export interface Choices {
  artifacts: ComputedRef<string[]>
  versionsOf: (name: string) => string[]
  /** The package behind a name and version, for what it offers by itself. */
  packageOf: (name: string, version: string) => Artifact | undefined
  images: ComputedRef<string[]>
  nodes: ComputedRef<{ name: string; ready: boolean }[]>
  /** Labels that nodes have, and their values. */
  nodeLabels: ComputedRef<Map<string, string[]>>
  services: ComputedRef<string[]>
}

const sorted = (names: Iterable<string>): string[] => [...new Set(names)].filter(Boolean).sort(byName)

export function useChoices(namespace: () => string): Choices {
  const artifacts = useList<Artifact>(kinds.Artifact, () => ({ namespace: namespace() }))
  const deployments = useList<Deployment>(kinds.Deployment, () => ({ namespace: namespace() }))
  const nodes = useList<Node>(kinds.Node)
  const services = useList<Service>(kinds.Service, () => ({ namespace: namespace() }))
  const endpoints = useList<Endpoint>(kinds.Endpoint, () => ({ namespace: namespace() }))
  return {
    artifacts: computed(() => sorted(artifacts.items.value.map((one) => one.spec.name))),
    versionsOf: (name) => [...new Set(artifacts.items.value.filter((one) => one.spec.name === name).map((one) => one.spec.version))].sort((left, right) => compareVersions(right, left)),
    packageOf: (name, version) => artifacts.items.value.find((one) => one.spec.name === name && one.spec.version === version),
    images: computed(() => sorted([...deployments.items.value.map((one) => one.spec.template.image ?? ''), ...artifacts.items.value.map((one) => one.spec.image ?? '')])),
    nodes: computed(() =>
      nodes.items.value
        .map((one) => ({ name: one.metadata.name, ready: one.status?.conditions?.find((condition) => condition.type === 'Ready')?.status === 'True' }))
        .sort((left, right) => byName(left.name, right.name)),
    ),
    nodeLabels: computed(() => {
      const labels = new Map<string, Set<string>>()
      for (const node of nodes.items.value) {
        for (const [key, value] of Object.entries(node.metadata.labels ?? {})) {
          const values = labels.get(key) ?? new Set<string>()
          values.add(value)
          labels.set(key, values)
        }
      }
      return new Map([...labels].sort(([left], [right]) => byName(left, right)).map(([key, values]) => [key, sorted(values)]))
    }),
    services: computed(() => sorted([...services.items.value.map((one) => one.metadata.name), ...endpoints.items.value.map((one) => one.spec.service)])),
  }
}
