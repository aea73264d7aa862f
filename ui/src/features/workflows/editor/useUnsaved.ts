/** Unsaved work survives a reload, and is not left by accident. */
import { computed, onMounted, watch } from 'vue'
import { useI18n } from 'vue-i18n'
import { onBeforeRouteLeave } from 'vue-router'
import { ElMessage } from 'element-plus'
import { confirm } from '@/components/act'
import type { Editor } from './useEditor'

/** `forget` is called when it was stored. */
export function useUnsaved(editor: Editor, key: () => string): { forget: () => void } {
  const { t } = useI18n()
  const { text } = editor
  const draftKey = computed(() => `plum.workflow.draft ${key()}`)
  const forget = (): void => sessionStorage.removeItem(draftKey.value)
  watch(text, (now) => {
    if (editor.changed.value) sessionStorage.setItem(draftKey.value, now)
    else forget()
  })
  onMounted(() => {
    const draft = sessionStorage.getItem(draftKey.value)
    if (draft && draft !== text.value) {
      editor.type(draft)
      ElMessage.info(t('workflows.draftBack'))
    }
  })
  onBeforeRouteLeave(async () => {
    if (!editor.changed.value) return true
    const leaves = await confirm(t('workflows.leave'), t('workflows.leaveText'), t('workflows.discard'))
    if (leaves) forget()
    return leaves
  })
  return { forget }
}
