/** Names that a field may hold, as they are now. Nothing is read before the field is looked at; fields that ask for the same share it. */
import { computed, type ComputedRef } from 'vue'
import { useList } from '@/api/useLive'
import { offersOf, type Reference } from './references'

export interface Options {
  names: ComputedRef<string[]>
  /** All of them are known: a name that is not among them names nothing yet. */
  complete: ComputedRef<boolean>
}

export function useOptions(reference: () => Reference | undefined, namespace: () => string | undefined, asked: () => boolean): Options {
  const list = useList(
    () => reference()?.kind,
    () => ({ enabled: asked() && reference() !== undefined, namespace: reference()?.kind.namespaced ? namespace() : undefined }),
  )
  return {
    names: computed(() => {
      const wanted = reference()
      if (!wanted) return []
      const found = new Set(list.items.value.flatMap((object) => offersOf(wanted, object as never)))
      return [...[...found].sort((left, right) => left.localeCompare(right, 'en', { numeric: true })), ...(wanted.also ?? [])]
    }),
    complete: computed(() => asked() && !list.loading.value && list.state.value === 'live'),
  }
}
