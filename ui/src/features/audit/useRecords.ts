/** Records of the audit log, newest first: a page of them, what is written from then on, and older ones when asked for. */

import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import { ApiError } from '@/api/errors'
import { follow } from '@/api/follow'
import { PATH, readRecords, type AuditRecord, type RecordQuery } from './records'

/** Milliseconds. */
const RETRY = 5000

export interface Records {
  records: ShallowRef<readonly AuditRecord[]>
  /** Where older ones go on; empty when there are none. */
  next: Ref<string>
  busy: Ref<boolean>
  /** Something was answered. */
  asked: Ref<boolean>
  error: ShallowRef<unknown>
  again: () => void
  older: () => void
}

/** `most`: how many are kept; without, all that were read. */
export function useRecords(query: () => RecordQuery, most = Infinity): Records {
  const records = shallowRef<readonly AuditRecord[]>([])
  const next = ref('')
  const busy = ref(false)
  const asked = ref(false)
  const error = shallowRef<unknown>()
  let reading = new AbortController()
  let leave: () => void = () => undefined
  let retry: ReturnType<typeof setTimeout> | undefined

  async function read(more: boolean): Promise<void> {
    reading.abort()
    clearTimeout(retry)
    const { signal } = (reading = new AbortController())
    if (!more) leave()
    busy.value = true
    error.value = undefined
    try {
      const wanted = query()
      const page = await readRecords({ ...wanted, continue: more ? next.value : undefined }, Math.min(most, 200), signal)
      if (signal.aborted) return
      records.value = more ? [...records.value, ...page.items] : page.items
      next.value = page.metadata.continue ?? ''
      asked.value = true
      if (!more) leave = followed(wanted)
    } catch (problem) {
      if (signal.aborted) return
      error.value = problem
      // A controller that is away comes back; a refusal stays one.
      if (!more && !(problem instanceof ApiError && problem.code < 500)) retry = setTimeout(() => void read(false), RETRY)
    } finally {
      if (!signal.aborted) busy.value = false
    }
  }

  function followed(wanted: RecordQuery): () => void {
    return follow<AuditRecord>({
      path: PATH, plain: { ...wanted, limit: 1 },
      query: () => ({ ...wanted, resourceVersion: records.value[0]?.seq ?? 0 }),
      told: (record) => (records.value = [record, ...records.value].slice(0, most)),
      // Too much was missed: what is listed now is the truth.
      failed: (problem) => (problem instanceof ApiError && problem.code === 410 ? void read(false) : (error.value = problem)),
    })
  }

  watch(() => JSON.stringify(query()), () => void read(false), { immediate: true })
  onScopeDispose(() => {
    reading.abort()
    clearTimeout(retry)
    leave()
  })
  return { records, next, busy, asked, error, again: () => void read(false), older: () => void read(true) }
}
