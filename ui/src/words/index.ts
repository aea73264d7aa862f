/** What the API says, in the language of the page: `say.reason('NoNodeFits')`, `say.text(condition.message)`. Reactive. */
import { shallowRef } from 'vue'
import { PLAIN, type Words } from './say'

const now = shallowRef<Words>(PLAIN)

/** Called with each change of the language, after its tables are loaded. */
export async function speak(language: string): Promise<void> {
  now.value = language === 'zh' ? (await import('./zh')).zh : PLAIN
}

export const say: Words = {
  reason: (word) => now.value.reason(word),
  condition: (type) => now.value.condition(type),
  status: (status) => now.value.status(status),
  text: (text) => now.value.text(text),
}

/** Reason and message of a condition, an event or a state in one line. */
export function said(reason: string | undefined, message: string | undefined): string {
  const separator = now.value === PLAIN ? ': ' : '：'
  return [reason && say.reason(reason), message && say.text(message)].filter(Boolean).join(separator)
}
