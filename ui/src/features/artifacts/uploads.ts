/** Uploads of this browser's tab: they go on while other pages are open, and are there again when one comes back. */

import { computed, ref, shallowReactive, watch } from 'vue'
import type { Artifact } from './types'
import { CancelledError, upload, type Progress, type Upload } from './upload'
import { artifactWire } from './wire'

export interface Row {
  id: number
  file: File
  namespace: string
  progress: Progress
  error: unknown
  made: Artifact | undefined
  cancel: () => void
}

/** Newest first. */
export const rows = ref<Row[]>([])
let next = 1

export function begin(file: File, namespace: string): void {
  const wire = artifactWire(namespace, {})
  const row: Row = shallowReactive({ id: next++, file, namespace, progress: { phase: 'sending', sent: 0, total: file.size, rate: 0 }, error: undefined, made: undefined, cancel: () => undefined })
  const running: Upload<Artifact> = upload<Artifact>(file, wire, (progress) => (row.progress = progress))
  row.cancel = () => {
    running.cancel()
    wire.abort()
  }
  rows.value = [row, ...rows.value]
  running.done.then((made) => (row.made = made)).catch((error: unknown) => {
    if (error instanceof CancelledError) dismiss(row)
    else row.error = error
  })
}

export function again(row: Row): void {
  dismiss(row)
  begin(row.file, row.namespace)
}

/** Take what has ended off the page. */
export function dismiss(row: Row): void {
  rows.value = rows.value.filter((one) => one.id !== row.id)
}

const active = computed(() => rows.value.some((row) => !row.made && !row.error))
function onLeave(event: BeforeUnloadEvent): void {
  event.preventDefault()
}
// Leaving Plum would end them; going to another page of it does not.
watch(active, (now) => (now ? globalThis.addEventListener : globalThis.removeEventListener)('beforeunload', onLeave as EventListener))
