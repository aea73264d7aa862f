/**
 * Whether the API would take what is being typed: a dry run after each pause, and its refusals at the fields they name.
 *
 *     values --after a pause--> dry run of each --> fine, or [{document, field, message}]
 */
import { onScopeDispose, ref, shallowRef, watch, type Ref, type ShallowRef } from 'vue'
import { ApiError } from '@/api/errors'
import type { FieldProblem } from '@/components/yaml/document'
import { say } from '@/words'

/** Milliseconds of quiet before the API is asked. */
const QUIET = 600
const NONE: readonly FieldProblem[] = []

export interface Trial {
  /** unread: nothing to ask about. wrong: the page knows already that it is refused. */
  state: Ref<'unread' | 'wrong' | 'checking' | 'fine' | 'refused'>
  problems: ShallowRef<readonly FieldProblem[]>
  /** What the API said, when it names no field. */
  error: ShallowRef<unknown>
}

/** Refusals of an error, by field; one without a field when the API named none. */
export function problemsOf(error: unknown, document = 0): FieldProblem[] {
  if (!(error instanceof ApiError)) return []
  const named = error.causes.filter((cause) => cause.message)
  return named.length ? named.map((cause) => ({ field: cause.field, message: say.text(cause.message!), document })) : [{ message: say.text(error.message), document }]
}

/** `attempt` asks for one of the values; it is undefined while nobody should be asked. */
export function useTrial(values: () => readonly unknown[], wrong: () => boolean, attempt: (value: unknown, index: number, signal: AbortSignal) => Promise<unknown>, enabled: () => boolean = () => true): Trial {
  const state = ref<Trial['state']['value']>('unread')
  const problems = shallowRef<readonly FieldProblem[]>(NONE)
  const error = shallowRef<unknown>()
  let timer: ReturnType<typeof setTimeout> | undefined
  let running: AbortController | undefined

  async function ask(): Promise<void> {
    const mine = (running = new AbortController())
    const found: FieldProblem[] = []
    let last: unknown
    for (const [index, value] of values().entries()) {
      try {
        await attempt(value, index, mine.signal)
      } catch (refusal) {
        if (mine.signal.aborted) return
        found.push(...problemsOf(refusal, index))
        last = refusal
      }
      if (mine.signal.aborted) return
    }
    problems.value = found
    error.value = last && !found.some((each) => each.field) ? last : undefined
    state.value = last ? 'refused' : 'fine'
  }
  function stop(): void {
    clearTimeout(timer)
    running?.abort()
  }
  watch(
    // As text: the editor reads the text anew when problems are shown in it, and equal values are no reason to ask again.
    () => JSON.stringify([values(), wrong(), enabled()]),
    () => {
      stop()
      problems.value = NONE
      error.value = undefined
      if (!enabled() || values().length === 0) state.value = wrong() ? 'wrong' : 'unread'
      else if (wrong()) state.value = 'wrong'
      else {
        state.value = 'checking'
        timer = setTimeout(() => void ask(), QUIET)
      }
    },
    { immediate: true },
  )
  onScopeDispose(stop)
  return { state, problems, error }
}
