/**
 * Sentences of the API in another language: found by their template, their parts translated by themselves.
 *
 *     "0 of 2 nodes fit: 2 InsufficientCpu (node-1 has 100m cpu free of ...)"
 *       --template "0 of {0} nodes fit: {1}"--> parts "2", "2 InsufficientCpu (...)" --each--> "2 个节点都不合适：…"
 *
 * What no template fits stays as the API says it. Pure.
 */

export interface Tables {
  reasons: Readonly<Record<string, string>>
  conditions: Readonly<Record<string, string>>
  statuses: Readonly<Record<string, string>>
  /** Lines of `english => other`, `{0}`, `{1}` for parts. */
  sentences: readonly string[]
}

export interface Words {
  reason: (reason: string) => string
  condition: (type: string) => string
  status: (status: string) => string
  text: (text: string) => string
}

interface Template {
  pattern: RegExp
  /** A part that the text must hold, so that most patterns need not be tried. */
  probe: string
  target: string
  weight: number
}

const HOLE = /\{\d\}/g
/** A sentence in a sentence in a sentence: more is a text that repeats itself. */
const DEEPEST = 8
const LEADS: Record<string, string> = { ':': '：', ';': '；', ',': '，' }
const REMEMBERED = 5_000
/** Letters of a template outside of its parts. */
const WEAK = 12

export function pairsOf(lines: readonly string[]): [string, string][] {
  return lines.flatMap((text) =>
    text.split('\n').flatMap((line): [string, string][] => {
      const at = line.indexOf(' => ')
      return at < 0 ? [] : [[line.slice(0, at).trim(), line.slice(at + 4).trim()]]
    }),
  )
}

function compiled([source, target]: [string, string]): Template {
  const literals = source.split(HOLE)
  const escaped = literals.map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  const weight = literals.join('').length
  // The last part takes what is left. A template of few letters fits much: its other parts are a name or two.
  const hole = weight < WEAK ? '(\\S*(?: \\S+)?)' : '([\\s\\S]*?)'
  const pattern = escaped.reduce((whole, part, index) => whole + (index === 0 ? '' : index === escaped.length - 1 && part === '' ? '([\\s\\S]*)' : hole) + part, '')
  const names = [...source.matchAll(HOLE)].map((found) => found[0])
  return {
    pattern: new RegExp(`^${pattern}$`),
    probe: literals.reduce((longest, part) => (part.length > longest.length ? part : longest), ''),
    target: names.reduce((text, name, index) => text.replaceAll(name, `\u0000${index}\u0000`), target),
    weight,
  }
}

/** `5m10s`, `3d`: spans as the API writes them. */
const SPAN = /^(?:\d+(?:\.\d+)?(?:ms|d|h|m|s))+$/
const UNITS: Record<string, string> = { ms: ' 毫秒', d: ' 天', h: ' 小时', m: ' 分', s: ' 秒' }

export function makeWords(tables: Tables, spans = true): Words {
  const templates = pairsOf(tables.sentences).map(([source, target]): [string, string] => [source.replace(/\.$/, ''), target.replace(/。$/, '')])
  const whole = new Map(templates.filter(([source]) => !source.includes('{0}')))
  const open = templates
    .filter(([source]) => source.includes('{0}'))
    .map(compiled)
    .sort((left, right) => right.weight - left.weight)
  const known = new Map<string, string>()

  const reason = (word: string): string => tables.reasons[word] ?? word
  const span = (text: string): string => text.replace(/(\d+(?:\.\d+)?)(ms|d|h|m|s)/g, (_whole, count: string, unit: string) => `${count}${UNITS[unit]} `).trimEnd()

  /** The template with the most letters that fits. */
  function byTemplate(text: string, depth: number): string | undefined {
    for (const template of open) {
      if (!text.includes(template.probe)) continue
      const found = template.pattern.exec(text)
      if (found) return template.target.replace(/\u0000(\d)\u0000/g, (_whole, index: string) => part(found[Number(index) + 1] ?? '', depth + 1))
    }
    return undefined
  }

  /** Words in front of a colon, of a list, or of several sentences. */
  function inParts(text: string, depth: number): string | undefined {
    for (const [separator, joined] of [['\n', '\n'], ['; ', '；'], ['. ', '。'], [': ', '：'], [', ', '，']] as const) {
      const at = text.indexOf(separator)
      if (at <= 0 || at + separator.length >= text.length) continue
      const [left, right] = [text.slice(0, at), text.slice(at + separator.length)]
      const [first, second] = [part(left, depth + 1), part(right, depth + 1)]
      if (first !== left || second !== right) return first.replace(/。$/, joined === '。' ? '' : '。') + joined + second
    }
    const counted = /^(\d+) ([A-Z][A-Za-z]+)( \([\s\S]*\))?$/.exec(text)
    if (counted && tables.reasons[counted[2]!]) return `${counted[1]} × ${reason(counted[2]!)}${counted[3] ? `（${part(counted[3].slice(2, -1), depth + 1)}）` : ''}`
    return undefined
  }

  /** A sentence, with or without its full stop: one inside of another loses it. */
  function part(text: string, depth: number): string {
    const trimmed = text.trim()
    if (!trimmed || depth > DEEPEST) return text
    const stops = trimmed.endsWith('.') && !trimmed.endsWith('..')
    const bare = stops ? trimmed.slice(0, -1) : trimmed
    const found = saidOf(bare, text, depth)
    if (found === undefined) return text
    return stops && !found.endsWith('。') ? `${found}。` : found
  }

  function saidOf(bare: string, text: string, depth: number): string | undefined {
    if (spans && SPAN.test(bare)) return span(bare)
    const named = /^([A-Z][A-Za-z]+)(?:: ([\s\S]+))?$/.exec(bare)
    if (named && tables.reasons[named[1]!]) return reason(named[1]!) + (named[2] === undefined ? '' : `：${part(named[2], depth + 1)}`)
    const found = whole.get(bare) ?? byTemplate(bare, depth)
    if (found !== undefined) return found
    const lead = /^\s*([:;,]) /.exec(text)
    if (lead) return LEADS[lead[1]!]! + part(bare.slice(2), depth + 1)
    const about = /^([\w.-]+): ([\s\S]+)$/.exec(bare)
    if (about) return `${about[1]}：${part(about[2]!, depth + 1)}`
    return inParts(bare, depth)
  }

  return {
    reason,
    condition: (type) => tables.conditions[type] ?? type,
    status: (status) => tables.statuses[status] ?? status,
    text: (text) => {
      const before = known.get(text)
      if (before !== undefined) return before
      if (known.size > REMEMBERED) known.clear()
      const result = part(text, 0)
      known.set(text, result)
      return result
    },
  }
}

/** The API's own words. */
export const PLAIN: Words = { reason: (word) => word, condition: (word) => word, status: (word) => word, text: (text) => text }
