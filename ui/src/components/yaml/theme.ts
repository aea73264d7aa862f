/** CodeMirror in the colours of the page, light and dark by the same variables. */

import { HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { EditorView } from '@codemirror/view'
import { tags } from '@lezer/highlight'

const look = EditorView.theme({
  '&': { color: 'var(--plum-text)', backgroundColor: 'var(--plum-surface)', fontSize: '12.5px', height: '100%' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--plum-mono)', lineHeight: '1.55' },
  '.cm-content': { caretColor: 'var(--plum-text)', padding: '8px 0' },
  '.cm-cursor, .cm-dropCursor': { borderLeftColor: 'var(--plum-text)' },
  '.cm-gutters': { backgroundColor: 'var(--plum-surface-2)', color: 'var(--plum-text-3)', border: 'none', borderRight: '1px solid var(--plum-line)' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'color-mix(in srgb, var(--plum-accent) 7%, transparent)' },
  '&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'color-mix(in srgb, var(--plum-accent) 24%, transparent)' },
  '.cm-tooltip': { backgroundColor: 'var(--plum-surface)', border: '1px solid var(--plum-line)', borderRadius: '6px', boxShadow: 'var(--plum-shadow-2)', color: 'var(--plum-text)' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--plum-selected)', color: 'var(--plum-text)' },
  '.cm-completionDetail': { color: 'var(--plum-text-3)', fontStyle: 'normal' },
  '.cm-completionInfo': { maxWidth: '360px', padding: '8px 10px', whiteSpace: 'normal', fontFamily: 'var(--plum-font)' },
  '.cm-panels': { backgroundColor: 'var(--plum-surface-2)', color: 'var(--plum-text)', borderColor: 'var(--plum-line)' },
  '.cm-foldPlaceholder': { backgroundColor: 'var(--plum-sunken)', border: 'none', color: 'var(--plum-text-3)' },
  '.cm-lintRange-error': { backgroundImage: 'none', textDecoration: 'underline wavy var(--tone-bad)', textDecorationSkipInk: 'none' },
  '.cm-lintRange-warning': { backgroundImage: 'none', textDecoration: 'underline wavy var(--tone-attention)', textDecorationSkipInk: 'none' },
  '.cm-diagnostic': { fontFamily: 'var(--plum-font)', padding: '6px 10px' },
  '.cm-diagnostic-error': { borderLeftColor: 'var(--tone-bad)' },
  '.cm-changedLine': { backgroundColor: 'var(--tone-ok-soft) !important' },
  '.cm-deletedChunk': { backgroundColor: 'var(--tone-bad-soft) !important' },
  '.cm-merge-a .cm-changedLine': { backgroundColor: 'var(--tone-bad-soft) !important' },
  // Drawn below the words: a stronger ground would take their contrast.
  '.cm-changedText': { background: 'none !important', borderBottom: '2px solid var(--tone-ok)' },
  '.cm-deletedText, .cm-merge-a .cm-changedText': { background: 'none !important', borderBottom: '2px solid var(--tone-bad)' },
  '.cm-collapsedLines': { color: 'var(--plum-text-3)', background: 'var(--plum-sunken)', padding: '3px 12px' },
})

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--plum-accent)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--tone-ok)' },
  { tag: [tags.number, tags.bool, tags.null, tags.atom], color: 'var(--tone-progress)' },
  { tag: tags.comment, color: 'var(--plum-text-3)', fontStyle: 'italic' },
  { tag: [tags.keyword, tags.typeName, tags.meta], color: 'var(--tone-attention)' },
  { tag: [tags.punctuation, tags.separator], color: 'var(--plum-text-2)' },
])

export const editorLook = [look, syntaxHighlighting(colours)]
