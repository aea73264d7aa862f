import { describe, expect, it } from 'vitest'
import { LogBuffer, marksOf } from './logBuffer'
import { LONGEST_LINE, LineSplitter, readLine, spansOf } from './logLines'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('splitting what arrives', () => {
  it('gives the same lines however the bytes are cut', () => {
    const text = 'first\nzweite Zeile: Größe €5 🚀\n\nlast without an end'
    const whole = bytes(text)
    for (let cut = 0; cut <= whole.length; cut += 1) {
      const splitter = new LineSplitter()
      const lines = [...splitter.push(whole.slice(0, cut)), ...splitter.push(whole.slice(cut)), ...splitter.end()]
      expect(lines).toEqual(text.split('\n'))
    }
  })

  it('cuts a line that never ends', () => {
    const splitter = new LineSplitter()
    const lines = splitter.push(bytes('x'.repeat(LONGEST_LINE * 2 + 5)))
    expect(lines.map((line) => line.length)).toEqual([LONGEST_LINE, LONGEST_LINE])
    expect(splitter.end()).toEqual(['xxxxx'])
  })
})

describe('one line', () => {
  it('knows its time when it has one', () => {
    const line = readLine(1, '2026-11-21T13:00:00.123Z hello', true)
    expect(line).toEqual({ number: 1, time: '2026-11-21T13:00:00.123Z', raw: 'hello', text: 'hello' })
    expect(readLine(1, 'no time here', true).time).toBe('')
  })

  it('shows the last of what a carriage return wrote over', () => {
    expect(readLine(1, ' 10%\r 50%\r100%', false).text).toBe('100%')
    expect(readLine(1, 'from windows\r', false).text).toBe('from windows')
  })

  it('has colours as classes, and never as markup', () => {
    expect(spansOf('a \u001b[31;1mred <b>\u001b[0m z')).toEqual([
      { text: 'a ', style: '' },
      { text: 'red <b>', style: 'fg-1 bold' },
      { text: ' z', style: '' },
    ])
    expect(spansOf('\u001b[38;5;200mpink\u001b[39m\u001b[96mcyan')).toEqual([
      { text: 'pink', style: '' },
      { text: 'cyan', style: 'fg-14' },
    ])
    expect(readLine(1, '\u001b]0;title\u0007\u001b[2Khi\u0000', false).text).toBe('hi')
  })
})

describe('the buffer', () => {
  it('keeps the newest lines and counts the others', () => {
    const buffer = new LogBuffer(100)
    buffer.append(
      Array.from({ length: 101 }, (_, at) => `line ${at}`),
      false,
    )
    expect(buffer.lines.length + buffer.dropped).toBe(101)
    expect(buffer.dropped).toBe(10)
    expect(buffer.lines[0]?.text).toBe('line 10')
    expect(buffer.lines.at(-1)?.number).toBe(101)
  })

  it('is bounded in characters too', () => {
    const buffer = new LogBuffer(1000, 50)
    buffer.append(['a'.repeat(30), 'b'.repeat(30), 'c'], false)
    expect(buffer.lines.map((line) => line.text[0])).toEqual(['b', 'c'])
  })

  it('keeps a search up with what arrives and what goes', () => {
    const buffer = new LogBuffer(10)
    buffer.find({ text: 'ERR', regex: false, caseSensitive: false })
    buffer.append(['error 1', 'fine', 'Err 2'], false)
    expect(buffer.shown(true).map((line) => line.text)).toEqual(['error 1', 'Err 2'])
    buffer.append(
      Array.from({ length: 8 }, (_, at) => `fine ${at}`),
      false,
    )
    expect(buffer.shown(true).map((line) => line.text)).toEqual(['Err 2'])
    expect(buffer.shown(false)).toHaveLength(10)
  })

  it('says why an expression is none, and shows everything then', () => {
    const buffer = new LogBuffer()
    buffer.append(['a(b'], false)
    buffer.find({ text: '(', regex: true, caseSensitive: true })
    expect(buffer.problem).not.toBe('')
    expect(buffer.shown(true)).toHaveLength(1)
    buffer.find({ text: '(', regex: false, caseSensitive: true })
    expect(buffer.matches).toEqual([0])
  })

  it('writes a file with or without times', () => {
    const buffer = new LogBuffer()
    buffer.append(['2026-11-21T13:00:00Z one'], true)
    expect(buffer.text(true)).toBe('2026-11-21T13:00:00Z one\n')
    expect(buffer.text(false)).toBe('one\n')
  })

  it('marks what was found, and an empty match marks nothing', () => {
    expect(marksOf('a.b A.B', { text: 'a.b', regex: false, caseSensitive: false })).toEqual([
      [0, 3],
      [4, 7],
    ])
    expect(marksOf('abc', { text: 'x*', regex: true, caseSensitive: true })).toEqual([])
  })
})
