/** Asks something of a run. The server writes down who asked, and refuses with the reason what makes no sense. */
import { kinds, pathOf, request, type Obj } from '@/api'
import type { Json } from '@/components/yaml/json'
import type { Control } from './model/controls'

export interface Ask {
  action: Control
  node?: string
  message?: string
  output?: Json
}

/** The run as it is afterwards; another one when a run that has ended begins again. */
export function askOf(run: { metadata: { name: string; namespace?: string } }, ask: Ask): Promise<Obj> {
  return request<Obj>('POST', pathOf(kinds.WorkflowRun, run.metadata.namespace, run.metadata.name, 'control'), { body: ask })
}
