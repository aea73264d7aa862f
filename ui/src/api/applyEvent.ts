/** From what is known of a collection and one event of a watch to what is known then. Pure. */

import { isStatus, type Status } from './errors'
import { keyOf, type AnyObj } from './objects'

export interface WatchEvent<T = AnyObj> {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'
  object: T | Status
}

/** What is known of one collection. `items` is keyed by namespace/name and never changed in place. */
export interface Collection<T = AnyObj> {
  items: ReadonlyMap<string, T>
  /** Where a watch goes on. */
  resourceVersion: string
}

type Known = { metadata: { name: string; namespace?: string; uid: string; resourceVersion: string } }

export function collectionOf<T extends Known>(items: readonly T[], resourceVersion: string): Collection<T> {
  return { items: new Map(items.map((item) => [keyOf(item), item])), resourceVersion }
}

/** Store positions are decimal numbers of any size; a watch that was resumed may repeat what is known already. */
function older(left: string, right: string): boolean {
  return left.length === right.length ? left < right : left.length < right.length
}

/**
 * Apply events in their order. Applying the same events twice, or events that the collection has seen already, changes nothing.
 * The same collection comes back when nothing changed, so that nothing is drawn again.
 */
export function applyEvents<T extends Known>(collection: Collection<T>, events: readonly WatchEvent<T>[]): Collection<T> {
  let items: Map<string, T> | undefined
  let resourceVersion = collection.resourceVersion
  for (const event of events) {
    if (event.type === 'ERROR' || isStatus(event.object)) continue
    const object = event.object
    const version = object.metadata.resourceVersion
    if (event.type !== 'BOOKMARK') {
      const key = keyOf(object)
      const known = (items ?? collection.items).get(key)
      if (event.type === 'DELETED') {
        // A successor of the same name is not what was deleted.
        if (known && !older(version, known.metadata.resourceVersion)) (items ??= new Map(collection.items)).delete(key)
      } else if (older(resourceVersion, version) && (!known || older(known.metadata.resourceVersion, version))) {
        ;(items ??= new Map(collection.items)).set(key, object)
      }
    }
    if (older(resourceVersion, version)) resourceVersion = version
  }
  if (!items && resourceVersion === collection.resourceVersion) return collection
  return { items: items ?? collection.items, resourceVersion }
}

/** What a watch says of itself when it ends: list again (410), or only connect again. */
export function mustListAgain(event: WatchEvent<unknown & Known>): boolean {
  return event.type === 'ERROR' && isStatus(event.object) && (event.object.code === 410 || event.object.reason === 'Expired')
}
