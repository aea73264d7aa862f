/** What is used now: measured by agents while the page waits, because nothing is measured when nobody asks. */

import { request } from '@/api/client'
import { parseQuantity } from './quantities'

interface Part {
  cpu: string
  memory: string
}

interface Metrics {
  metadata: { name: string; namespace?: string }
  usage?: Part
  containers?: { usage: Part }[]
}

export interface Used {
  /** Cores. */
  cpu: number
  /** Bytes. */
  memory: number
}

const ROOT = '/apis/metrics.k8s.io/v1beta1'

export function usedOf(metrics: Metrics): Used {
  const parts = metrics.usage ? [metrics.usage] : (metrics.containers ?? []).map((one) => one.usage)
  return {
    cpu: parts.reduce((sum, part) => sum + (parseQuantity(part.cpu) ?? 0), 0),
    memory: parts.reduce((sum, part) => sum + (parseQuantity(part.memory) ?? 0), 0),
  }
}

/** By `namespace/name`. What does not run, or whose agent is away, is not in it. */
export async function measureInstances(namespace: string, selector = '', signal?: AbortSignal): Promise<Map<string, Used>> {
  const path = `${ROOT}${namespace ? `/namespaces/${encodeURIComponent(namespace)}` : ''}/pods`
  const list = await request<{ items: Metrics[] }>('GET', path, { query: { labelSelector: selector }, signal })
  return new Map(list.items.map((one) => [`${one.metadata.namespace ?? ''}/${one.metadata.name}`, usedOf(one)]))
}

export async function measureInstance(namespace: string, name: string, signal?: AbortSignal): Promise<Used> {
  return usedOf(await request<Metrics>('GET', `${ROOT}/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`, { signal }))
}

/** By name of the node. */
export async function measureNodes(signal?: AbortSignal): Promise<Map<string, Used>> {
  const list = await request<{ items: Metrics[] }>('GET', `${ROOT}/nodes`, { signal })
  return new Map(list.items.map((one) => [one.metadata.name, usedOf(one)]))
}

export async function measureNode(name: string, signal?: AbortSignal): Promise<Used> {
  return usedOf(await request<Metrics>('GET', `${ROOT}/nodes/${encodeURIComponent(name)}`, { signal }))
}
