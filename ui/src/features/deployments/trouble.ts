/** Why a Deployment is not where it should be, from what its instances say: the same trouble is told once, with how many have it. Pure. */

import { standing, type Standing } from '../instances/model'
import type { Instance } from '../instances/types'

export interface Trouble {
  standing: Standing
  says: string
  count: number
  /** One that has it, to look at. */
  example: Instance
}

const FINE: ReadonlySet<Standing> = new Set(['ready', 'stopping', 'stopped', 'succeeded'])
const ORDER: readonly Standing[] = ['failed', 'backoff', 'lost', 'notReady', 'waiting', 'starting']

/** The most frequent of the most urgent first. */
export function troublesOf(instances: readonly Instance[], most = 5): Trouble[] {
  const groups = new Map<string, Trouble>()
  for (const instance of instances) {
    const where = standing(instance)
    if (FINE.has(where)) continue
    const says = saysOf(instance)
    const key = `${where} ${says.replaceAll(instance.metadata.name, '')}`
    const known = groups.get(key)
    if (known) known.count += 1
    else groups.set(key, { standing: where, says, count: 1, example: instance })
  }
  return [...groups.values()]
    .sort((left, right) => ORDER.indexOf(left.standing) - ORDER.indexOf(right.standing) || right.count - left.count)
    .slice(0, most)
}

function saysOf({ status = {} }: Instance): string {
  const refusals = status.scheduling?.refusals ?? []
  if (refusals.length > 0) return [...new Set(refusals.map((one) => [one.reason, one.message].filter(Boolean).join(': ')))].slice(0, 3).join('; ')
  return status.message || status.reason || status.conditions?.find((one) => one.status === 'False' && one.message)?.message || ''
}
