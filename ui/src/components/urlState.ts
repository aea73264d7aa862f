/** A piece of the page's state that lives in the address: a reload, the back button and a sent link show the same. */

import { computed, type WritableComputedRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'

const pending = new Map<string, string | undefined>()
let scheduled = false

/** `push` makes a step of the history (tabs, chosen rows); without, it is replaced (typing in a filter). */
export function useQuery(name: string, fallback = '', options: { push?: boolean } = {}): WritableComputedRef<string> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get: () => {
      const value = route.query[name]
      return typeof value === 'string' ? value : fallback
    },
    set: (value) => {
      // Several pieces set in one tick become one navigation.
      pending.set(name, value === fallback || value === '' ? undefined : value)
      if (scheduled) return
      scheduled = true
      queueMicrotask(() => {
        scheduled = false
        const query: Record<string, unknown> = { ...router.currentRoute.value.query }
        for (const [key, next] of pending) {
          if (next === undefined) delete query[key]
          else query[key] = next
        }
        pending.clear()
        const target = { query: query as Record<string, string>, hash: router.currentRoute.value.hash }
        void (options.push ? router.push(target) : router.replace(target))
      })
    },
  })
}
