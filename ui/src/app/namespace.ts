/** The namespace that lists show. It is part of the address (`?ns=`), so a link shows the same to others; without, what was chosen last. */

import { computed, ref, type WritableComputedRef } from 'vue'
import { useRoute, useRouter } from 'vue-router'

const KEY = 'plum.namespace'
const last = ref(localStorage.getItem(KEY) ?? '')

/** Empty: all namespaces. */
export function useNamespace(): WritableComputedRef<string> {
  const route = useRoute()
  const router = useRouter()
  return computed({
    get: () => (typeof route.query.ns === 'string' ? (route.query.ns === '*' ? '' : route.query.ns) : last.value),
    set: (namespace) => {
      last.value = namespace
      localStorage.setItem(KEY, namespace)
      void router.replace({ query: { ...route.query, ns: namespace || '*' } })
    },
  })
}

/** Where something new is created when all namespaces are shown. */
export function creationNamespace(chosen: string): string {
  return chosen || 'default'
}
