/** What manifests would do: the controller tries them on a copy of everything. */

import { api } from '@/api/client'

export interface PlanChange {
  action: 'create' | 'change' | 'delete' | 'stop' | 'start' | 'move' | 'restart' | 'unchanged' | (string & {})
  kind: string
  namespace: string
  name: string
  detail?: string
}

export interface Plan {
  /** Stands for manifests and outcome: equal hash, equal plan. */
  hash: string
  changes: PlanChange[]
}

export function planOf(manifests: readonly unknown[], namespace = 'default'): Promise<Plan> {
  return api.post<Plan>('/plan', { manifests, namespace, manager: 'plum-ui' })
}
