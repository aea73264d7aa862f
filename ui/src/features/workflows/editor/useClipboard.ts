/**
 * Copy, cut and paste of nodes, and the keys of the editor. The clipboard holds YAML, so that nodes can go to another workflow, to a
 * chat or to a file.
 */
import { onBeforeUnmount, onMounted, ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { ElMessage } from 'element-plus'
import { valueOf } from '@/components/yaml/patch/patch'
import { pasteNodes } from '../model/commands'
import { isMap, nameOf, nodesOf } from '../model/definition'
import type { RawNode } from '../model/definition'
import { plainText } from './source'
import type { Editor } from './useEditor'

export interface ClipboardOptions {
  host: () => HTMLElement | undefined
  /** Why nothing can be changed now. */
  locked: () => string
  remove: () => void
  save: () => void
}

export function useClipboard(editor: Editor, options: ClipboardOptions): { copyByButton: () => Promise<void> } {
  const { t } = useI18n()
  const { nodes, scope, selected } = editor
  // ---- clipboard: YAML, so that nodes can go to another workflow, a chat or a file
  const copied = ref('')
  function copyText(): string {
    const chosen = nodes.value.filter((node) => selected.value.includes(nameOf(node)))
    return chosen.length > 0 ? plainText({ nodes: chosen }) : ''
  }
  function onCopy(event: ClipboardEvent, cut = false): void {
    if (isTyping(event.target)) return
    const yaml = copyText()
    if (!yaml) return
    event.preventDefault()
    event.clipboardData?.setData('text/plain', yaml)
    copied.value = yaml
    if (cut) options.remove()
    else ElMessage.success(t('workflows.copied', { n: selected.value.length }, selected.value.length))
  }
  function onPaste(event: ClipboardEvent): void {
    if (isTyping(event.target)) return
    const yaml = event.clipboardData?.getData('text/plain') ?? copied.value
    event.preventDefault()
    paste(yaml)
  }
  function paste(yaml: string): void {
    if (options.locked()) return
    let found: RawNode[]
    try {
      const value = valueOf(yaml)
      found = isMap(value) && isMap(value.spec) ? nodesOf(value.spec) : isMap(value) && typeof value.name === 'string' ? [value] : nodesOf(value)
    } catch {
      found = []
    }
    if (found.length === 0) {
      ElMessage.warning(t('workflows.nothingToPaste'))
      return
    }
    let names: string[] = []
    editor.run((now) => {
      const result = pasteNodes(now, scope.value, found)
      names = result.names
      return result.spec
    })
    selected.value = names
  }
  async function copyByButton(): Promise<void> {
    copied.value = copyText()
    if (!copied.value) return
    await navigator.clipboard?.writeText(copied.value).catch(() => undefined)
    ElMessage.success(t('workflows.copied', { n: selected.value.length }, selected.value.length))
  }
  function isTyping(target: EventTarget | null): boolean {
    return target instanceof HTMLElement && target.closest('input, textarea, select, .cm-editor, [contenteditable=true]') !== null
  }
  function onKey(event: KeyboardEvent): void {
    if (!(event.ctrlKey || event.metaKey) || !options.host() || document.querySelector('.el-overlay:not([style*="none"]) .el-dialog')) return
    const key = event.key.toLowerCase()
    if (key === 's') {
      event.preventDefault()
      options.save()
    } else if (isTyping(event.target)) {
      // A field of a form has no history of its own worth keeping: the editor's goes over all of them.
      const inYaml = event.target instanceof HTMLElement && event.target.closest('.cm-editor')
      if (!inYaml && (key === 'z' || key === 'y')) {
        event.preventDefault()
        if (key === 'y' || event.shiftKey) editor.redo()
        else editor.undo()
      }
    } else if (key === 'z' || key === 'y') {
      event.preventDefault()
      if (key === 'y' || event.shiftKey) editor.redo()
      else editor.undo()
    } else if (key === 'a') {
      event.preventDefault()
      selected.value = nodes.value.map(nameOf)
    }
  }
  const onCut = (event: ClipboardEvent): void => onCopy(event, true)
  const onCopyOnly = (event: ClipboardEvent): void => onCopy(event)
  function beforeUnload(event: BeforeUnloadEvent): void {
    if (editor.changed.value) event.preventDefault()
  }
  onMounted(() => {
    document.addEventListener('keydown', onKey)
    document.addEventListener('copy', onCopyOnly)
    document.addEventListener('cut', onCut)
    document.addEventListener('paste', onPaste)
    globalThis.addEventListener('beforeunload', beforeUnload)
  })
  onBeforeUnmount(() => {
    document.removeEventListener('keydown', onKey)
    document.removeEventListener('copy', onCopyOnly)
    document.removeEventListener('cut', onCut)
    document.removeEventListener('paste', onPaste)
    globalThis.removeEventListener('beforeunload', beforeUnload)
  })

  return { copyByButton }
}
