import type { Event } from '@/api/types'

/** When an event happened last, as RFC 3339. */
export function lastSeen(event: Event): string {
  const series = (event as unknown as { series?: { lastObservedTime?: string } }).series
  return event.lastTimestamp || series?.lastObservedTime || event.eventTime || event.firstTimestamp || event.metadata.creationTimestamp
}
