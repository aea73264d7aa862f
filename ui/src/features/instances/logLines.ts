/**
 * From the bytes of a log to lines that can be shown.
 *
 *   bytes --LineSplitter--> text lines --readLine--> {time, text} --spansOf--> coloured parts
 *
 * A character that arrives in two pieces, and a line that arrives in many, come out whole.
 */

/** Characters of one line that are kept. A program that writes a megabyte without an end of line must not stop the page. */
export const LONGEST_LINE = 32_768

export interface LogLine {
  /** Counts up for as long as the page reads; names the line. */
  number: number
  /** When it was written, as the node says; empty when not known. */
  time: string
  /** With its colours as they were written. */
  raw: string
  /** Without them: what is searched and copied. */
  text: string
}

const STAMP = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ?/
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\^_])/g
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g

export class LineSplitter {
  private readonly decoder = new TextDecoder('utf-8', { fatal: false })
  private rest = ''

  /** The lines that are complete now. */
  push(bytes: Uint8Array): string[] {
    return this.take(this.decoder.decode(bytes, { stream: true }))
  }

  /** What is left when nothing more comes. */
  end(): string[] {
    const lines = this.take(this.decoder.decode())
    if (this.rest !== '') lines.push(this.rest)
    this.rest = ''
    return lines
  }

  private take(text: string): string[] {
    if (text === '') return []
    const lines = (this.rest + text).split('\n')
    this.rest = lines.pop() ?? ''
    while (this.rest.length > LONGEST_LINE) {
      lines.push(this.rest.slice(0, LONGEST_LINE))
      this.rest = this.rest.slice(LONGEST_LINE)
    }
    return lines
  }
}

export function readLine(number: number, line: string, stamped: boolean): LogLine {
  const found = stamped ? STAMP.exec(line) : null
  const body = found ? line.slice(found[0].length) : line
  // A carriage return writes over what stood there, as a progress bar does: the last one counts.
  const shown = body.endsWith('\r') ? body.slice(0, -1) : body
  const raw = shown.includes('\r') ? shown.slice(shown.lastIndexOf('\r') + 1) : shown
  return { number, time: found?.[1] ?? '', raw, text: plain(raw) }
}

export function plain(raw: string): string {
  return raw.replace(ESCAPES, '').replace(CONTROLS, '')
}

export interface Span {
  text: string
  /** Class names: `fg-1` to `fg-15`, `bold`, `dim`, `italic`, `underline`. */
  style: string
}

const SGR = /\u001b\[([0-9;]*)m/g

/** The parts of a line by their colours. Text is only ever text: nothing in a line can become markup. */
export function spansOf(raw: string): Span[] {
  if (!raw.includes('\u001b')) return [{ text: raw.replace(CONTROLS, ''), style: '' }]
  const spans: Span[] = []
  let style: Style = {}
  let from = 0
  const add = (text: string): void => {
    const cleaned = plain(text)
    if (cleaned) spans.push({ text: cleaned, style: classes(style) })
  }
  for (const found of raw.matchAll(SGR)) {
    add(raw.slice(from, found.index))
    style = changed(style, found[1] ?? '')
    from = found.index + found[0].length
  }
  add(raw.slice(from))
  return spans
}

interface Style {
  colour?: number
  bold?: boolean
  dim?: boolean
  italic?: boolean
  underline?: boolean
}

function changed(before: Style, codes: string): Style {
  let style: Style = { ...before }
  const numbers = codes === '' ? [0] : codes.split(';').map(Number)
  for (let at = 0; at < numbers.length; at += 1) {
    const code = numbers[at] ?? 0
    if (code === 0) style = {}
    else if (code === 1) style.bold = true
    else if (code === 2) style.dim = true
    else if (code === 3) style.italic = true
    else if (code === 4) style.underline = true
    else if (code === 22) style = without(without(style, 'bold'), 'dim')
    else if (code === 23) style = without(style, 'italic')
    else if (code === 24) style = without(style, 'underline')
    else if (code >= 30 && code <= 37) style.colour = code - 30
    else if (code >= 90 && code <= 97) style.colour = code - 82
    else if (code === 39) style = without(style, 'colour')
    else if (code === 38 || code === 48) at += numbers[at + 1] === 5 ? 2 : 4 // 256 and true colours keep the text's own
  }
  return style
}

function without(style: Style, name: keyof Style): Style {
  const { [name]: _, ...rest } = style
  return rest
}

function classes(style: Style): string {
  const names = style.colour === undefined ? [] : [`fg-${style.colour}`]
  for (const name of ['bold', 'dim', 'italic', 'underline'] as const) if (style[name]) names.push(name)
  return names.join(' ')
}
