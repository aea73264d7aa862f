/** Doing something with an object: one thing at a time, with a word when it is done and the API's words when it is refused. */

import { ElMessage, ElMessageBox, ElNotification } from 'element-plus'
import { ref, shallowRef, type Ref, type ShallowRef } from 'vue'
import { ApiError, UnreachableError } from '@/api/errors'
import { translate } from '@/app/i18n'
import { say } from '@/words'

/** What went wrong, in one text: the fields that were refused, or the message. */
export function errorText(error: unknown): string {
  if (error instanceof UnreachableError) return translate('common.unreachable')
  if (error instanceof ApiError && error.causes.length > 0) {
    return error.causes.map((cause) => [cause.field, say.text(cause.message ?? '')].filter(Boolean).join(': ')).join('\n')
  }
  return say.text(error instanceof Error ? error.message : String(error))
}

/** Says what was refused, long enough to be read. */
export function tellError(error: unknown): void {
  ElNotification({ title: translate('common.failed'), message: errorText(error), type: 'error', duration: 12_000, customClass: 'plum-notice' })
}

export interface Act {
  /** Name of what is under way; empty when nothing is. */
  busy: Ref<string>
  /** True when it was done. `done` is said then. */
  act: (name: string, work: () => Promise<unknown>, done?: string) => Promise<boolean>
}

export function useAct(): Act {
  const busy = ref('')
  async function act(name: string, work: () => Promise<unknown>, done = ''): Promise<boolean> {
    if (busy.value) return false
    busy.value = name
    try {
      await work()
      if (done) ElMessage({ message: done, type: 'success', plain: true })
      return true
    } catch (error) {
      tellError(error)
      return false
    } finally {
      busy.value = ''
    }
  }
  return { busy, act }
}

export interface Submit {
  busy: Ref<boolean>
  /** What the API refused; shown by an `ErrorNote` in the dialog, which stays open. */
  error: ShallowRef<unknown>
  /** The answer; undefined when it was refused, or is under way already. */
  submit: <T>(work: () => Promise<T>) => Promise<T | undefined>
}

/** One request of a dialog: once at a time, its refusal kept beside what was written. */
export function useSubmit(): Submit {
  const busy = ref(false)
  const error = shallowRef<unknown>()
  async function submit<T>(work: () => Promise<T>): Promise<T | undefined> {
    if (busy.value) return undefined
    busy.value = true
    error.value = undefined
    try {
      return await work()
    } catch (refusal) {
      error.value = refusal
      return undefined
    } finally {
      busy.value = false
    }
  }
  return { busy, error, submit }
}

/** Ask before something that cannot be taken back. False: no. */
export async function confirm(title: string, message: string, verb: string, danger = true): Promise<boolean> {
  try {
    await ElMessageBox.confirm(message, title, {
      confirmButtonText: verb,
      cancelButtonText: translate('common.cancel'),
      confirmButtonClass: danger ? 'el-button--danger' : '',
      autofocus: !danger,
    })
    return true
  } catch {
    return false
  }
}

/** Give the browser a file to keep. */
export function download(name: string, parts: BlobPart[], type = 'text/plain'): void {
  const address = URL.createObjectURL(new Blob(parts, { type }))
  const link = document.createElement('a')
  link.href = address
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(address), 10_000)
}

export async function copyText(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text)
    ElMessage({ message: translate('common.copied'), type: 'success', plain: true })
  } catch {
    ElMessage({ message: translate('common.copyFailed'), type: 'warning', plain: true })
  }
}
