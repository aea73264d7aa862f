/**
 * The lines that a page holds of a log: bounded, searchable, downloadable. Pure but for its own arrays.
 *
 * The newest lines stay; how many of the oldest were let go is counted, so that a page can say it. A search is kept up with
 * what arrives, and never looks at a line twice.
 */

import { readLine } from './logLines'
import type { LogLine } from './logLines'

export const MOST_LINES = 50_000
/** Characters held. A line costs about two bytes each, twice when it has colours. */
export const MOST_CHARACTERS = 16_000_000
/** Let go at once when there are too many, so that arrays are not moved for every line. */
const AT_ONCE = 0.1

export interface Search {
  text: string
  regex: boolean
  caseSensitive: boolean
}

export class LogBuffer {
  lines: LogLine[] = []
  /** Of the lines that match, in order; all of them without a search. Indexes into `lines`. */
  matches: number[] = []
  /** Lines that were let go for room. */
  dropped = 0
  /** Why the search cannot be made: a regular expression that is none. */
  problem = ''

  private characters = 0
  private next = 1
  private test: ((text: string) => boolean) | undefined

  constructor(
    private readonly mostLines = MOST_LINES,
    private readonly mostCharacters = MOST_CHARACTERS,
  ) {}

  append(texts: readonly string[], stamped: boolean): void {
    for (const text of texts) {
      const line = readLine(this.next, text, stamped)
      this.next += 1
      this.characters += line.raw.length
      if (this.test?.(line.text)) this.matches.push(this.lines.length)
      this.lines.push(line)
    }
    if (this.lines.length > this.mostLines || this.characters > this.mostCharacters) this.letGo()
  }

  clear(): void {
    this.lines = []
    this.matches = []
    this.dropped = 0
    this.characters = 0
  }

  get searching(): boolean {
    return this.test !== undefined
  }

  find(search: Search): void {
    this.problem = ''
    this.test = undefined
    try {
      this.test = tester(search)
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error)
    }
    this.match()
  }

  /** The lines to show: those that match when only those are wanted, else all. */
  shown(onlyMatches: boolean): LogLine[] {
    if (!onlyMatches || this.test === undefined) return this.lines
    return this.matches.flatMap((at) => this.lines[at] ?? [])
  }

  /** The whole text, for a file. */
  text(withTimes: boolean): string {
    return this.lines.map((line) => `${withTimes && line.time ? `${line.time} ` : ''}${line.text}\n`).join('')
  }

  private letGo(): void {
    let count = Math.max(this.lines.length - this.mostLines, 0)
    if (count > 0) count = Math.max(count, Math.floor(this.mostLines * AT_ONCE))
    let left = this.characters
    for (let at = 0; at < count; at += 1) left -= this.lines[at]?.raw.length ?? 0
    while (left > this.mostCharacters && count < this.lines.length - 1) {
      left -= this.lines[count]?.raw.length ?? 0
      count += 1
    }
    this.lines = this.lines.slice(count)
    this.characters = left
    this.dropped += count
    this.matches = this.matches.filter((at) => at >= count).map((at) => at - count)
  }

  private match(): void {
    this.matches = []
    if (this.test === undefined) return
    for (let at = 0; at < this.lines.length; at += 1) if (this.test(this.lines[at]?.text ?? '')) this.matches.push(at)
  }
}

function tester(search: Search): ((text: string) => boolean) | undefined {
  if (search.text === '') return undefined
  if (search.regex) {
    const expression = new RegExp(search.text, search.caseSensitive ? '' : 'i')
    return (text) => expression.test(text)
  }
  if (search.caseSensitive) return (text) => text.includes(search.text)
  const wanted = search.text.toLowerCase()
  return (text) => text.toLowerCase().includes(wanted)
}

/** Where a text has what is searched for: `[from, to)`, for marking. */
export function marksOf(text: string, search: Search): [number, number][] {
  if (search.text === '') return []
  const marks: [number, number][] = []
  try {
    const source = search.regex ? search.text : search.text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
    for (const found of text.matchAll(new RegExp(source, search.caseSensitive ? 'g' : 'gi'))) {
      if (found[0] !== '') marks.push([found.index, found.index + found[0].length])
    }
  } catch {
    return []
  }
  return marks
}
