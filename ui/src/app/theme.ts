/** Light and dark. `auto` follows the system. */

import { ref, watchEffect } from 'vue'

export type Theme = 'auto' | 'light' | 'dark'
const KEY = 'plum.theme'
const kept = localStorage.getItem(KEY)
const system = globalThis.matchMedia?.('(prefers-color-scheme: dark)')
const systemDark = ref(system?.matches ?? false)
system?.addEventListener('change', (event) => (systemDark.value = event.matches))

export const theme = ref<Theme>(kept === 'light' || kept === 'dark' ? kept : 'auto')
/** What is shown now. */
export const dark = ref(false)

watchEffect(() => {
  dark.value = theme.value === 'dark' || (theme.value === 'auto' && systemDark.value)
  document.documentElement.classList.toggle('dark', dark.value)
  localStorage.setItem(KEY, theme.value)
})
