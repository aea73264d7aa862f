/** Languages. Messages of a feature are below its folder's name: `t('deployments.title')`. A language is loaded when it is chosen. */

import { createI18n } from 'vue-i18n'
import { speak } from '@/words'

export const LANGUAGES = { en: 'English', zh: '中文' } as const
export type Language = keyof typeof LANGUAGES

const KEY = 'plum.language'

type Messages = Record<string, unknown>
const files = import.meta.glob<{ default: Messages }>(['../features/*/locales/*.ts', './locales/*.ts', '../components/locales/*.ts'])

/** `../features/nodes/locales/en.ts` -> nodes; the shell's are `app`, those of shared components `common`. */
function scopeOf(path: string): string {
  const feature = /features\/([^/]+)\//.exec(path)
  return feature ? feature[1]! : path.includes('components/') ? 'common' : 'app'
}

export const i18n = createI18n({ legacy: false, locale: 'en', fallbackLocale: 'en', missingWarn: true, fallbackWarn: false, messages: {} })

const loaded = new Set<Language>()

async function load(language: Language): Promise<void> {
  if (loaded.has(language)) return
  const messages: Messages = {}
  await Promise.all(
    Object.entries(files)
      .filter(([path]) => path.endsWith(`/${language}.ts`))
      .map(async ([path, read]) => {
        messages[scopeOf(path)] = (await read()).default
      }),
  )
  i18n.global.setLocaleMessage(language, messages as never)
  loaded.add(language)
}

export function preferredLanguage(): Language {
  const kept = localStorage.getItem(KEY)
  if (kept === 'en' || kept === 'zh') return kept
  return navigator.languages?.some((name) => name.toLowerCase().startsWith('zh')) && !navigator.language.startsWith('en') ? 'zh' : 'en'
}

export async function setLanguage(language: Language): Promise<void> {
  await Promise.all([load(language), speak(language)])
  i18n.global.locale.value = language
  localStorage.setItem(KEY, language)
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en'
}

/** For code outside of components. */
export const translate = (key: string, named: Record<string, unknown> = {}): string => i18n.global.t(key, named)
