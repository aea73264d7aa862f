/**
 * Frames of a command on another machine: `v5.channel.k8s.io` over a WebSocket. The first byte of a message is its channel.
 *
 *   0 stdin   1 stdout   2 stderr   3 status (JSON, at the end)   4 size of the terminal (JSON)   255 no more of a channel
 */

export const PROTOCOL = 'v5.channel.k8s.io'
export const STDIN = 0
export const STDOUT = 1
export const STDERR = 2
export const STATUS = 3
export const RESIZE = 4
export const CLOSE = 255

export type Frame =
  { kind: 'output'; data: Uint8Array; isError: boolean } | { kind: 'ended'; ending: Ending } | { kind: 'nothing' }

export interface Ending {
  /** Of the command; undefined when it did not end by itself. */
  code?: number
  /** What the server says when it did not. */
  message: string
}

export function encodeInput(text: string): Uint8Array {
  return framed(STDIN, new TextEncoder().encode(text))
}

/** Keys that xterm gives as bytes of their own, such as those of old mouse reports. */
export function encodeBinary(data: string): Uint8Array {
  return framed(
    STDIN,
    Uint8Array.from(data, (character) => character.charCodeAt(0) & 255),
  )
}

export function encodeSize(columns: number, rows: number): Uint8Array {
  return framed(RESIZE, new TextEncoder().encode(JSON.stringify({ Width: columns, Height: rows })))
}

export function decodeFrame(message: ArrayBuffer): Frame {
  const bytes = new Uint8Array(message)
  const data = bytes.subarray(1)
  switch (bytes[0]) {
    case STDOUT:
    case STDERR:
      return data.length > 0 ? { kind: 'output', data, isError: bytes[0] === STDERR } : { kind: 'nothing' }
    case STATUS:
      return { kind: 'ended', ending: readEnding(new TextDecoder().decode(data)) }
    default:
      return { kind: 'nothing' }
  }
}

interface StatusObject {
  status?: string
  message?: string
  details?: { causes?: { reason?: string; message?: string }[] }
}

export function readEnding(text: string): Ending {
  let status: StatusObject
  try {
    status = JSON.parse(text) as StatusObject
  } catch {
    return { message: text }
  }
  if (status.status === 'Success') return { code: 0, message: '' }
  const cause = status.details?.causes?.find((one) => one.reason === 'ExitCode')
  const code = cause?.message !== undefined && /^\d+$/.test(cause.message) ? { code: Number(cause.message) } : {}
  return { ...code, message: status.message ?? '' }
}

/** The path of a command beside an instance. */
export function execPath(namespace: string, name: string, words: readonly string[]): string {
  const query = new URLSearchParams({ stdout: 'true', stderr: 'false', stdin: 'true', tty: 'true' })
  for (const word of words) query.append('command', word)
  return `/apis/plum.dev/v1/namespaces/${encodeURIComponent(namespace)}/instances/${encodeURIComponent(name)}/exec?${query}`
}

/** Words as a shell would split them, without a shell. Undefined: a quote is not closed. */
export function splitWords(line: string): string[] | undefined {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let at = 0; at < line.length; at += 1) {
    const character = line[at] ?? ''
    if (quote) {
      if (character === quote) quote = ''
      else if (character === '\\' && quote === '"' && /["\\$`]/.test(line[at + 1] ?? '')) word = `${word ?? ''}${line[(at += 1)]}`
      else word = `${word ?? ''}${character}`
    } else if (character === "'" || character === '"') {
      quote = character
      word ??= ''
    } else if (character === '\\' && at + 1 < line.length) {
      word = `${word ?? ''}${line[(at += 1)]}`
    } else if (/\s/.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else {
      word = `${word ?? ''}${character}`
    }
  }
  if (quote) return undefined
  if (word !== undefined) words.push(word)
  return words
}

/** Words as one line that `splitWords` reads back. */
export function joinWords(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`)).join(' ')
}

function framed(channel: number, data: Uint8Array): Uint8Array {
  const message = new Uint8Array(data.length + 1)
  message[0] = channel
  message.set(data, 1)
  return message
}
