/** New YAML text for JSON values, as people write it: plain words without quotes, small collections on one line. */
import { isObject } from '../json'
import type { Json } from '../json'

const FLOW_LENGTH = 88
/** Characters up to which a new collection is written on one line. */

/** Words that plain text would not stay text: readers of YAML 1.1 know more of them. */
const RESERVED = /^(?:true|false|null|yes|no|on|off|~|\.nan|[-+]?\.inf|<<|=)$/i
const NUMBER_LIKE = /^[-+.]?\d/
const SPAN = /^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/
const KEY = /^[A-Za-z_][\w.-]*$/
const SAFE_START = /^[A-Za-z_$/(]/
/** `${{ x }}` as a whole is read as a text in blocks, but not inside of flow collections. */
const EXPRESSION = /^\$\{\{ [^:#]*\}\}$/

export function scalarText(value: Json, inFlow: boolean): string {
  if (typeof value !== 'string') return JSON.stringify(value)
  if (SPAN.test(value)) return value
  if (!inFlow && EXPRESSION.test(value) && !/[\n\r\t]/.test(value)) return value
  const isPlain =
    SAFE_START.test(value) && !RESERVED.test(value) && !NUMBER_LIKE.test(value) && !/[^\x20-\x7e\u00a1-\ud7ff\ue000-\ufefe]|: |:$| #| $/.test(value) && !(inFlow && /[,[\]{}:]/.test(value))
  return isPlain && !/^[\w.]+: /.test(value) ? value : JSON.stringify(value)
}

/** `on` is a word of its own only to readers of YAML 1.1; the server knows what they make of it. */
export function keyText(key: string): string {
  return KEY.test(key) && !/^(?:true|false|null)$/i.test(key) ? key : scalarText(key, true)
}

/** One line. */
export function flowText(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(flowText).join(', ')}]`
  if (isObject(value))
    return `{${Object.entries(value)
      .map(([key, item]) => `${keyText(key)}: ${flowText(item)}`)
      .join(', ')}}`
  return scalarText(value, true)
}

/** Lines of which all but the first are indented by `indent`. */
export function blockText(value: Json, indent: number): string {
  const pad = ' '.repeat(indent)
  if (Array.isArray(value) && value.length > 0) return value.map((item) => `- ${isSmall(item) ? oneLine(item) : blockText(item, indent + 2)}`).join(`\n${pad}`)
  if (isObject(value) && Object.keys(value).length > 0)
    return Object.entries(value)
      .map(([key, item]) => pairText(key, item, indent))
      .join(`\n${pad}`)
  return oneLine(value)
}

export function oneLine(value: Json): string {
  return typeof value === 'object' && value !== null ? flowText(value) : scalarText(value, false)
}

export function pairText(key: string, value: Json, indent: number): string {
  return `${keyText(key)}:${afterColon(value, indent)}`
}

/** What follows `key:` in a block map whose keys stand at `indent`. */
export function afterColon(value: Json, indent: number): string {
  if (typeof value === 'string' && value.includes('\n')) {
    if (!/^[^\s][\s\S]*[^\s]\n?$/.test(value) || /[^\S\n]\n|\r|\t|[^\x0a\x20-\x7e\u00a1-\ud7ff\ue000-\ufefe]/.test(value)) return ` ${JSON.stringify(value)}`
    const lines = value
      .replace(/\n$/, '')
      .split('\n')
      .map((line) => (line ? ' '.repeat(indent + 2) + line : ''))
    return ` |${value.endsWith('\n') ? '' : '-'}\n${lines.join('\n')}`
  }
  return isSmall(value) ? ` ${oneLine(value)}` : `\n${' '.repeat(indent + 2)}${blockText(value, indent + 2)}`
}

/** What is read at a glance stands on one line: lists of names, small maps; never nodes with maps in them. */
export function isSmall(value: Json): boolean {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) return !(typeof value === 'string' && value.includes('\n'))
  const text = JSON.stringify(value)
  return text.length <= FLOW_LENGTH && !text.includes('\\n')
}

