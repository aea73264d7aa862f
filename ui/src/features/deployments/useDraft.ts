/**
 * The text of a Deployment while somebody writes it: tried on the server after each pause, and stored only over what was read.
 *
 *   text --parse--> object --dry run--> refusals by field          save: is it still what was read? -> store, or show what others did
 */

import { computed, ref, shallowRef, watch, type ComputedRef, type Ref, type ShallowRef } from 'vue'
import { api } from '@/api/client'
import { ApiError } from '@/api/errors'
import { kinds } from '@/api/kinds'
import { editable } from '@/components/yaml/document'
import { changesBetween, type Change } from './revisions'
import type { Deployment } from './types'
import { open } from './yamlEdit'
import { say } from '@/words'

/** Milliseconds of quiet before the server is asked whether it would take the text. */
const QUIET = 500

export interface Draft {
  text: Ref<string>
  /** unread: no YAML. incomplete: not worth asking yet. */
  check: Ref<'unread' | 'incomplete' | 'checking' | 'fine' | 'refused'>
  /** Why the server would refuse it, or could not be asked. */
  refusal: ShallowRef<unknown>
  /** By field as the API names it. */
  problems: ComputedRef<{ field?: string; message: string }[]>
  /** What is different from what is stored. */
  changes: ComputedRef<Change[]>
  /** What others changed since it was read; set when a save met it. */
  theirs: ShallowRef<Change[]>
  saving: Ref<boolean>
  /** The stored object; undefined when it was not stored. `over`: also over what others changed. */
  save: (over?: boolean) => Promise<Deployment | undefined>
}

export function useDraft(first: string, base: ShallowRef<Deployment | undefined>): Draft {
  const text = ref(first)
  const check = ref<Draft['check']['value']>('incomplete')
  const refusal = shallowRef<unknown>()
  const theirs = shallowRef<Change[]>([])
  const saving = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined
  let running: AbortController | undefined

  const value = computed(() => open(text.value).value as unknown as Deployment | undefined)
  const changes = computed(() => (base.value && value.value ? changesBetween(editable(base.value), value.value) : []))
  const problems = computed(() => {
    const error = refusal.value
    if (!(error instanceof ApiError)) return []
    const causes = error.causes.filter((cause) => cause.message)
    return causes.length > 0 ? causes.map((cause) => ({ ...(cause.field ? { field: cause.field } : {}), message: say.text(cause.message ?? '') })) : [{ message: say.text(error.message) }]
  })

  async function write(object: Deployment, dryRun: boolean, signal?: AbortSignal): Promise<Deployment> {
    const options = { dryRun, ...(signal ? { signal } : {}) }
    const stored = base.value
    if (!stored) return api.create<Deployment>(kinds.Deployment, object, options)
    // A trial is against what is stored now: only a save minds what others wrote, and its status moves all the time.
    const { uid, resourceVersion } = (dryRun ? await api.read<Deployment>(kinds.Deployment, stored.metadata.namespace, stored.metadata.name) : stored).metadata
    return api.replace<Deployment>(kinds.Deployment, { ...object, metadata: { ...object.metadata, uid, resourceVersion } } as Deployment, options)
  }

  async function tryIt(): Promise<void> {
    const object = value.value
    if (!object) return
    running?.abort()
    const mine = (running = new AbortController())
    check.value = 'checking'
    try {
      await write(object, true, mine.signal)
      if (mine.signal.aborted) return
      refusal.value = undefined
      check.value = 'fine'
    } catch (error) {
      if (mine.signal.aborted) return
      refusal.value = error
      check.value = 'refused'
    }
  }

  watch(
    text,
    () => {
      clearTimeout(timer)
      running?.abort()
      theirs.value = []
      if (!value.value) check.value = 'unread'
      else if (!value.value.metadata?.name || !value.value.spec) check.value = 'incomplete'
      else {
        check.value = 'checking'
        timer = setTimeout(() => void tryIt(), QUIET)
      }
      if (check.value !== 'checking') refusal.value = undefined
    },
    { immediate: true },
  )

  async function save(over = false): Promise<Deployment | undefined> {
    const object = value.value
    if (!object || saving.value) return undefined
    saving.value = true
    clearTimeout(timer)
    running?.abort()
    try {
      if (base.value) {
        const { namespace, name } = base.value.metadata
        const now = await api.read<Deployment>(kinds.Deployment, namespace, name)
        const others = changesBetween(editable(base.value), editable(now))
        if (others.length > 0 && !over) {
          theirs.value = others
          return undefined
        }
        // Its status moves all the time; that is no reason to refuse.
        base.value = now
      }
      const stored = await write(object, false)
      refusal.value = undefined
      return stored
    } catch (error) {
      refusal.value = error
      check.value = 'refused'
      return undefined
    } finally {
      saving.value = false
    }
  }

  return { text, check, refusal, problems, changes, theirs, saving, save }
}
