/** Why a workflow cannot be started now, as the controller would refuse it. Pure. */
import type { Obj } from '@/api'
import { isMap } from './model/definition'

export function whyNotStart(workflow: Obj): '' | 'isTemplate' | 'isArchived' | 'isDraft' {
  const spec = isMap(workflow.spec) ? workflow.spec : {}
  if (spec.template === true) return 'isTemplate'
  if (spec.archived === true) return 'isArchived'
  return spec.state === 'Draft' ? 'isDraft' : ''
}
