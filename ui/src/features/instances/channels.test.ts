import { describe, expect, it } from 'vitest'
import { decodeFrame, encodeBinary, encodeInput, encodeSize, execPath, joinWords, readEnding, splitWords } from './channels'

function message(channel: number, text: string): ArrayBuffer {
  return Uint8Array.from([channel, ...new TextEncoder().encode(text)]).buffer
}

describe('frames', () => {
  it('carry what is typed, and the size', () => {
    expect([...encodeInput('é')]).toEqual([0, 0xc3, 0xa9])
    expect([...encodeBinary('\u00ff')]).toEqual([0, 255])
    const size = encodeSize(80, 24)
    expect(size[0]).toBe(4)
    expect(JSON.parse(new TextDecoder().decode(size.subarray(1)))).toEqual({ Width: 80, Height: 24 })
  })

  it('bring output, errors, and the end', () => {
    expect(decodeFrame(message(1, 'hi'))).toMatchObject({ kind: 'output', isError: false })
    expect(decodeFrame(message(2, 'no'))).toMatchObject({ kind: 'output', isError: true })
    expect(decodeFrame(message(1, ''))).toEqual({ kind: 'nothing' })
    expect(decodeFrame(new ArrayBuffer(0))).toEqual({ kind: 'nothing' })
    expect(decodeFrame(message(3, '{"status":"Success"}'))).toEqual({ kind: 'ended', ending: { code: 0, message: '' } })
  })

  it('tell the exit code, or what the server says without one', () => {
    const failure = {
      status: 'Failure',
      message: 'command terminated with exit code 3',
      details: { causes: [{ reason: 'ExitCode', message: '3' }] },
    }
    expect(readEnding(JSON.stringify(failure))).toEqual({ code: 3, message: failure.message })
    expect(readEnding('{"status":"Failure","message":"the agent went away"}')).toEqual({ message: 'the agent went away' })
    expect(readEnding('not json')).toEqual({ message: 'not json' })
  })
})

describe('command lines', () => {
  it.each([
    ['ls -l  /tmp', ['ls', '-l', '/tmp']],
    ['sh -c \'echo "a b"\'', ['sh', '-c', 'echo "a b"']],
    ['a "b \\"c\\"" d\\ e ""', ['a', 'b "c"', 'd e', '']],
    ['', []],
  ])('%s is split', (line, words) => {
    expect(splitWords(line)).toEqual(words)
  })

  it('with an open quote are none', () => {
    expect(splitWords("echo 'a")).toBeUndefined()
  })

  it('are read back as they were', () => {
    const words = ['python3', '-c', "print('it''s')", '', 'a b', '$HOME', 'x=1']
    expect(splitWords(joinWords(words))).toEqual(words)
  })

  it('go into a path word by word', () => {
    expect(execPath('my ns', 'web-1', ['sh', '-c', 'a&b'])).toBe(
      '/apis/plum.dev/v1/namespaces/my%20ns/instances/web-1/exec?stdout=true&stderr=false&stdin=true&tty=true&command=sh&command=-c&command=a%26b',
    )
  })
})
