/** The time, once per second and once for all: ages move without a timer per row. */

import { onScopeDispose, readonly, shallowRef, type Ref } from 'vue'

const now = shallowRef(Date.now())
let users = 0
let timer: ReturnType<typeof setInterval> | undefined

/** Milliseconds since 1970, moving while a component uses it and the page is seen. */
export function useClock(): Readonly<Ref<number>> {
  users += 1
  timer ??= setInterval(() => {
    if (!globalThis.document?.hidden) now.value = Date.now()
  }, 1000)
  now.value = Date.now()
  onScopeDispose(() => {
    users -= 1
    if (users > 0) return
    clearInterval(timer)
    timer = undefined
  })
  return readonly(now)
}
