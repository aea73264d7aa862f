/**
 * The nodes of one run, kept up to date: listed in pages, then watched from there.
 *
 *     list --rows--> watch from its revision --each event is a whole row--> rows ... cut or too old: list again
 *
 * Rows do not say that a node became ready to wait: what has no row yet comes from the list, which is read again when the run changes
 * its phase.
 */
import { onScopeDispose, ref, shallowRef, watch } from 'vue'
import type { Ref, ShallowRef } from 'vue'
import { kinds, pathOf, request } from '@/api'
import { ApiError } from '@/api/errors'
import { openSocket } from '@/api/socket'
import type { JsonMap } from '../workflows/model/definition'
import type { Row } from './model/rows'

const PAGE = 2000
const MOST = 20_000
/** Rows that are held; a run with more iterations shows the first, and says so. */
const FLUSH = 80
/** Milliseconds in which events are gathered. */
const RETRY = 2000

interface RowList {
  metadata: { continue?: string; resourceVersion?: string }
  items: Row[]
  definition?: JsonMap
}

export interface RunRows {
  rows: ShallowRef<ReadonlyMap<string, Row>>
  definition: ShallowRef<JsonMap | null>
  loading: Ref<boolean>
  /** There are more rows than are held. */
  cut: Ref<boolean>
  error: ShallowRef<unknown>
  reload: () => void
}

/** `version` changes with every change of the run's phase, or of its uid. */
export function useRunRows(namespace: () => string, name: () => string, version: () => string, ended: () => boolean): RunRows {
  const rows = shallowRef<ReadonlyMap<string, Row>>(new Map())
  const definition = shallowRef<JsonMap | null>(null)
  const loading = ref(true)
  const cut = ref(false)
  const error = shallowRef<unknown>(null)
  let current: AbortController | undefined
  let timer: ReturnType<typeof setTimeout> | undefined

  const path = (): string => pathOf(kinds.WorkflowRun, namespace(), name(), 'nodes')

  async function load(): Promise<void> {
    current?.abort()
    clearTimeout(timer)
    const mine = (current = new AbortController())
    if (!name()) return
    try {
      const found = new Map<string, Row>()
      let next = ''
      let revision = ''
      do {
        const page: RowList = await request<RowList>('GET', path(), { query: { limit: PAGE, continue: next || undefined, definition: next ? undefined : true }, signal: mine.signal })
        if (!next) {
          revision = page.metadata.resourceVersion ?? ''
          definition.value = page.definition ?? definition.value
        }
        for (const row of page.items) found.set(row.key, row)
        next = page.metadata.continue ?? ''
      } while (next && found.size < MOST)
      cut.value = next !== ''
      rows.value = found
      error.value = null
      loading.value = false
      if (!ended()) void follow(revision, mine)
    } catch (problem) {
      if (mine.signal.aborted) return
      loading.value = false
      error.value = problem
      if (!(problem instanceof ApiError) || problem.code >= 500) timer = setTimeout(() => void load(), RETRY)
    }
  }

  async function follow(revision: string, mine: AbortController): Promise<void> {
    let pending: Row[] = []
    let flushing: ReturnType<typeof setTimeout> | undefined
    const flush = (): void => {
      flushing = undefined
      const next = new Map(rows.value)
      for (const row of pending) if (next.has(row.key) || next.size < MOST) next.set(row.key, row)
      pending = []
      rows.value = next
    }
    try {
      const reader = (await openSocket(path(), { watch: true, resourceVersion: revision || undefined }, { limit: 1 }, mine.signal)).getReader()
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        for (const line of (part.value as string).split('\n')) {
          if (!line.trim()) continue
          const event = JSON.parse(line) as { type: string; object: Row & { kind?: string } }
          if (event.type === 'ADDED' || event.type === 'MODIFIED') pending.push(event.object)
          else if (event.type === 'ERROR') throw new Error('expired')
        }
        if (pending.length > 0) flushing ??= setTimeout(flush, FLUSH)
      }
    } catch {
      // Whatever cut it: the list tells the truth.
    } finally {
      clearTimeout(flushing)
      if (pending.length > 0) flush()
    }
    if (!mine.signal.aborted) timer = setTimeout(() => void load(), ended() ? 100 : RETRY)
  }

  const stop = watch([namespace, name, version], () => void load(), { immediate: true })
  onScopeDispose(() => {
    stop()
    clearTimeout(timer)
    current?.abort()
  })
  return { rows, definition, loading, cut, error, reload: () => void load() }
}
