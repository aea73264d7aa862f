/**
 * What becomes of the text in the server: judged by a dry run when the hands rest, stored after its plan was looked at, and never over
 * what somebody else has written since.
 *
 *     text --pause--> dry run --> problems          save --dry run, plan--> shown --confirmed--> stored, or a conflict
 */
import { computed, onBeforeUnmount, ref, shallowRef, watch } from 'vue'
import type { ComputedRef, Ref, ShallowRef } from 'vue'
import { useI18n } from 'vue-i18n'
import { ElMessage } from 'element-plus'
import { api, kinds, request, type Obj } from '@/api'
import { ApiError } from '@/api/errors'
import { tellError } from '@/components/act'
import type { Json } from '@/components/yaml/json'
import { say } from '@/words'
import { isMap } from '../model/definition'
import { sourceAnnotations } from './source'
import type { Editor } from './useEditor'

/** Tries when only the status moves meanwhile, as it does with every run. */
const ATTEMPTS = 5

export interface StoringOptions {
  /** The stored object; undefined for a new one. */
  live: () => Obj | undefined
  /** Text of the stored object. */
  initial: () => string
  namespace: () => string
  /** Why it cannot be saved. */
  refusal: () => string | undefined
  /** Why nothing can be changed now. */
  locked: () => string
  showProblems: () => void
  stored: (name: string) => void
}

export interface PlanLine {
  action: string
  kind: string
  name: string
  detail?: string
}

export interface Storing {
  serverProblems: ShallowRef<{ field: string; message: string }[]>
  checking: Ref<boolean>
  /** Somebody else has changed it. */
  outdated: Ref<boolean>
  takeTheirs: () => void
  /** What would be stored, while it is asked for confirmation. */
  saving: Ref<{ stored: Obj; plan: PlanLine[] } | null>
  busy: Ref<boolean>
  saveProblem: ComputedRef<string>
  beginSave: () => Promise<void>
  save: () => Promise<void>
}

export function useStoring(editor: Editor, options: StoringOptions): Storing {
  const { t } = useI18n()
  const { text, syntaxError } = editor
  // ---- what the server thinks of it, asked when the hands rest
  const serverProblems = shallowRef<{ field: string; message: string }[]>([])
  const checking = ref(false)
  let timer: ReturnType<typeof setTimeout> | undefined
  let asked = 0
  function askServer(): void {
    clearTimeout(timer)
    const mine = ++asked
    timer = setTimeout(() => void judge(mine), 700)
  }
  async function judge(mine: number): Promise<void> {
    if (syntaxError.value) return
    checking.value = true
    try {
      await dryRun()
      if (mine === asked) serverProblems.value = []
    } catch (error) {
      if (mine !== asked) return
      const causes = error instanceof ApiError ? error.causes.map((cause) => ({ field: cause.field ?? '', message: say.text(cause.message ?? '') })) : []
      serverProblems.value = causes.length || !(error instanceof ApiError) || error.forbidden ? causes : [{ field: '', message: say.text(error.message) }]
    } finally {
      if (mine === asked) checking.value = false
    }
  }
  watch(text, askServer)
  onBeforeUnmount(() => clearTimeout(timer))

  function wanted(): { apiVersion: string; kind: string; metadata: { name: string; namespace?: string } & Record<string, unknown>; spec: Json } {
    const object = editor.object.value
    const metadata = isMap(object.metadata) ? object.metadata : {}
    return { ...object, apiVersion: 'plum.dev/v1', kind: 'Workflow', metadata: { ...metadata, name: String(metadata.name ?? ''), namespace: options.live()?.metadata.namespace ?? (String(metadata.namespace ?? '') || options.namespace()) }, spec: object.spec ?? {} }
  }
  /** Generation of the definition that is edited. */
  let based = options.live()?.metadata.generation

  /** Writes, or asks what would be written. Somebody else's definition is never written over: `ApiError.conflict`. */
  async function write(dryRun: boolean, more: Record<string, string> = {}): Promise<Obj> {
    const object = wanted()
    const annotations = { ...((object.metadata.annotations as Record<string, string>) ?? {}), ...more }
    const metadata = { ...object.metadata, ...(Object.keys(annotations).length ? { annotations } : {}) }
    const live = options.live()
    if (!live) return api.create<Obj>(kinds.Workflow, { ...object, metadata }, { dryRun })
    for (let attempt = 1; ; attempt++) {
      const { name, namespace } = live.metadata
      const now = await api.read<Obj>(kinds.Workflow, namespace, name)
      if (!dryRun && now.metadata.generation !== based) throw new ApiError(409, t('workflows.outdated'))
      try {
        return await api.replace<Obj>(kinds.Workflow, { ...object, metadata: { ...metadata, name, resourceVersion: now.metadata.resourceVersion } as never }, { dryRun })
      } catch (error) {
        if (!(error instanceof ApiError && error.conflict) || attempt === ATTEMPTS) throw error
      }
    }
  }
  const dryRun = (): Promise<Obj> => write(true)


  /** Somebody else has changed it: what is not changed here follows. */
  const outdated = ref(false)
  watch(() => options.initial(), (now) => {
    if (!editor.changed.value) {
      based = options.live()?.metadata.generation
      if (now !== text.value) editor.load(now)
    } else if (now !== editor.saved.value) outdated.value = true
  })
  function takeTheirs(): void {
    based = options.live()?.metadata.generation
    editor.load(options.initial())
    outdated.value = false
  }


  // ---- saving
  const saving = ref<{ stored: Obj; plan: { action: string; kind: string; name: string; detail?: string }[] } | null>(null)
  const busy = ref(false)
  const saveProblem = computed(() => options.refusal() || options.locked() || (!editor.changed.value && options.live() ? t('workflows.nothingChanged') : ''))
  async function beginSave(): Promise<void> {
    if (saveProblem.value || busy.value) return
    busy.value = true
    try {
      const stored = await dryRun()
      const plan = await request<{ changes: { action: string; kind: string; name: string; detail?: string }[] }>('POST', '/plan', { body: { manifests: [wanted()], namespace: options.namespace() } }).catch(() => ({ changes: [] }))
      saving.value = { stored, plan: plan.changes ?? [] }
    } catch (error) {
      await judge(asked)
      options.showProblems()
      tellError(error)
    } finally {
      busy.value = false
    }
  }
  async function save(): Promise<void> {
    const held = saving.value
    if (!held) return
    busy.value = true
    try {
      const done = await write(false, sourceAnnotations(text.value, held.stored.spec))
      based = done.metadata.generation
      editor.saved.value = text.value
      outdated.value = false
      options.stored(done.metadata.name)
      saving.value = null
      ElMessage.success(t('workflows.saved', { name: done.metadata.name }))
    } catch (error) {
      tellError(error instanceof ApiError && error.conflict ? t('common.error.conflict') : error)
    } finally {
      busy.value = false
    }
  }

  return { serverProblems, checking, outdated, takeTheirs, saving, busy, saveProblem, beginSave, save }
}
