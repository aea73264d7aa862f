/**
 * One action over many chosen objects: on those where it is possible, a few at a time; what was refused is told and stays chosen.
 *
 *     chosen --blocked?--> possible --work--> done, refused [{name, why}]
 */
import { ElMessage, ElNotification } from 'element-plus'
import { computed, ref, type ComputedRef, type Ref } from 'vue'
import { keyOf, type AnyObj } from '@/api/objects'
import { translate } from '@/app/i18n'
import { errorText } from './act'

/** Requests at once: the API answers others meanwhile. */
const AT_ONCE = 4
const NAMES_TOLD = 5

export interface Outcome {
  done: string[]
  refused: { key: string; name: string; why: string }[]
}

/** Pure but for the work. */
export async function eachOf<T extends AnyObj>(items: readonly T[], work: (item: T) => Promise<unknown>, atOnce = AT_ONCE): Promise<Outcome> {
  const outcome: Outcome = { done: [], refused: [] }
  const waiting = [...items]
  async function worker(): Promise<void> {
    for (let item = waiting.shift(); item; item = waiting.shift()) {
      try {
        await work(item)
        outcome.done.push(keyOf(item))
      } catch (error) {
        outcome.refused.push({ key: keyOf(item), name: item.metadata.name, why: errorText(error) })
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  return outcome
}

export interface Bulk<T> {
  selected: Ref<Set<string>>
  chosen: ComputedRef<readonly T[]>
  busy: Ref<string>
  /** Why an action is possible for none of the chosen; empty when it is for some. */
  blockedOf: (why: (item: T) => string) => string
  /** True when nothing was refused. */
  run: (name: string, why: (item: T) => string, work: (item: T) => Promise<unknown>, done: (names: string) => string) => Promise<boolean>
}

export function useBulk<T extends AnyObj>(items: () => readonly T[]): Bulk<T> {
  const selected = ref(new Set<string>())
  const busy = ref('')
  const chosen = computed(() => items().filter((item) => selected.value.has(keyOf(item))))

  function blockedOf(why: (item: T) => string): string {
    const reasons = chosen.value.map(why)
    return reasons.every(Boolean) ? (reasons[0] ?? '') : ''
  }

  async function run(name: string, why: (item: T) => string, work: (item: T) => Promise<unknown>, done: (names: string) => string): Promise<boolean> {
    if (busy.value) return false
    busy.value = name
    try {
      const left = chosen.value.filter((item) => why(item))
      const outcome = await eachOf(chosen.value.filter((item) => !why(item)), work)
      selected.value = new Set(outcome.refused.map((each) => each.key))
      if (outcome.done.length) ElMessage({ message: done(listed(outcome.done.map((key) => key.split('/').at(-1)!))), type: 'success', plain: true })
      if (left.length) ElMessage({ message: translate('common.bulk.left', { n: left.length, names: listed(left.map((item) => item.metadata.name)), why: why(left[0]!) }), type: 'info', plain: true, duration: 6_000 })
      if (outcome.refused.length) {
        ElNotification({
          title: translate('common.bulk.refused', { n: outcome.refused.length }), type: 'error', duration: 12_000, customClass: 'plum-notice',
          message: outcome.refused.slice(0, NAMES_TOLD).map((each) => `${each.name}: ${each.why}`).join('\n'),
        })
      }
      return outcome.refused.length === 0
    } finally {
      busy.value = ''
    }
  }
  return { selected, chosen, busy, blockedOf, run }
}

/** `a, b`, `a, b, c, d, e … (12)` */
export function listed(names: readonly string[]): string {
  return names.length > NAMES_TOLD ? `${names.slice(0, NAMES_TOLD).join(', ')} … (${names.length})` : names.join(', ')
}
