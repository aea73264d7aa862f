/** Usage that moves while somebody looks: asked again some seconds after each answer, never twice at once. */

import { onScopeDispose, shallowRef, watch, type ShallowRef } from 'vue'

/** Milliseconds between an answer and the next question. Each makes agents measure for a second. */
const PAUSE = 5000

export interface Usage<T> {
  value: ShallowRef<T | undefined>
  /** Why there is none. */
  error: ShallowRef<unknown>
}

export function useUsage<T>(measure: (signal: AbortSignal) => Promise<T>, wanted: () => boolean, subject: () => string = () => ''): Usage<T> {
  const value = shallowRef<T>()
  const error = shallowRef<unknown>()
  let controller: AbortController | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  async function ask(): Promise<void> {
    const mine = (controller = new AbortController())
    if (!globalThis.document?.hidden) {
      try {
        const measured = await measure(mine.signal)
        if (mine.signal.aborted) return
        value.value = measured
        error.value = undefined
      } catch (reason) {
        if (mine.signal.aborted) return
        value.value = undefined
        error.value = reason
      }
    }
    timer = setTimeout(() => void ask(), PAUSE)
  }

  function stop(): void {
    controller?.abort()
    clearTimeout(timer)
  }

  watch(
    () => [wanted(), subject()] as const,
    ([now]) => {
      stop()
      value.value = undefined
      error.value = undefined
      if (now) void ask()
    },
    { immediate: true },
  )
  onScopeDispose(stop)
  return { value, error }
}
