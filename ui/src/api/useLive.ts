/** Collections and objects for components: live while the component is there, one stream for all that ask for the same. */

import { computed, getCurrentScope, onScopeDispose, shallowRef, toValue, watch, type ComputedRef, type MaybeRefOrGetter } from 'vue'
import type { KindRef } from './kinds'
import type { AnyObj } from './objects'
import { acquire, type Live, type LiveState } from './watch'

export interface UseListOptions {
  /** Undefined or empty: all namespaces. */
  namespace?: string
  labelSelector?: string
  fieldSelector?: string
  /** False: nothing is asked for, and the list is empty. */
  enabled?: boolean
  managedFields?: boolean
  /** Parts of the objects that the page does not look at, as JSON pointers: `/spec/template`. They are not sent. */
  omit?: readonly string[]
}

export interface UseList<T> {
  items: ComputedRef<readonly T[]>
  state: ComputedRef<LiveState>
  /** Nothing was read yet. */
  loading: ComputedRef<boolean>
  staleSince: ComputedRef<number>
  error: ComputedRef<Error | undefined>
  /** Objects read, and those still to come. */
  progress: ComputedRef<{ loaded: number; remaining: number }>
}

const NOTHING: Live = { items: [], state: 'live', staleSince: 0, loaded: 0, remaining: 0, error: undefined }

/** A live list. Kind and options may be refs or getters: the stream follows them. */
export function useList<T extends AnyObj = AnyObj>(kind: MaybeRefOrGetter<KindRef | undefined>, options: MaybeRefOrGetter<UseListOptions> = {}): UseList<T> {
  const live = shallowRef<Live<T>>(NOTHING as Live<T>)
  let release: (() => void) | undefined
  const stop = watch(
    () => {
      const of = toValue(kind)
      const { namespace, labelSelector, fieldSelector, enabled, managedFields, omit } = toValue(options)
      // As text, so that an equal getter result does not open the stream again.
      return of && enabled !== false ? JSON.stringify({ of, namespace: namespace || undefined, labelSelector, fieldSelector, managedFields, omit }) : ''
    },
    (wanted) => {
      release?.()
      release = undefined
      if (!wanted) {
        live.value = NOTHING as Live<T>
        return
      }
      const { of, managedFields, ...rest } = JSON.parse(wanted) as { of: KindRef; managedFields?: boolean } & UseListOptions
      ;[live.value, release] = acquire<T>(of, rest, managedFields)
    },
    { immediate: true },
  )
  if (getCurrentScope()) {
    onScopeDispose(() => {
      stop()
      release?.()
    })
  }
  return {
    items: computed(() => live.value.items),
    state: computed(() => live.value.state),
    loading: computed(() => live.value.state === 'loading' && live.value.items.length === 0),
    staleSince: computed(() => live.value.staleSince),
    error: computed(() => live.value.error),
    progress: computed(() => ({ loaded: live.value.loaded, remaining: live.value.remaining })),
  }
}

export interface UseObject<T> {
  /** The object as last seen; undefined before it was read and when it does not exist. */
  object: ComputedRef<T | undefined>
  /** It was looked for and is not there (any more). */
  missing: ComputedRef<boolean>
  state: ComputedRef<LiveState>
  staleSince: ComputedRef<number>
  error: ComputedRef<Error | undefined>
}

/** One live object. */
export function useObject<T extends AnyObj = AnyObj>(
  kind: MaybeRefOrGetter<KindRef | undefined>,
  namespace: MaybeRefOrGetter<string | undefined>,
  name: MaybeRefOrGetter<string>,
): UseObject<T> {
  const list = useList<T>(kind, () => ({
    namespace: toValue(namespace), fieldSelector: `metadata.name=${toValue(name)}`, managedFields: true, enabled: Boolean(toValue(name)),
  }))
  return {
    object: computed(() => list.items.value[0]),
    missing: computed(() => list.state.value === 'live' && list.items.value.length === 0),
    state: list.state,
    staleSince: list.staleSince,
    error: list.error,
  }
}
