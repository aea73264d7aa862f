import { describe, expect, it } from 'vitest'
import { ApiError } from '@/api/errors'
import { LogReader } from './logReader'
import type { LogQuery, Parameters_, ReaderState } from './logReader'

const FOLLOW: LogQuery = { follow: true, previous: false, tailLines: 10, stream: 'all' }

function streamOf(...pieces: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece))
      controller.close()
    },
  })
}

async function follow(answers: (ReadableStream<Uint8Array> | Error)[], query = FOLLOW): Promise<{ lines: string[]; states: ReaderState[]; asked: Parameters_[] }> {
  const lines: string[] = []
  const states: ReaderState[] = []
  const asked: Parameters_[] = []
  const reader = new LogReader(
    async (parameters) => {
      asked.push(parameters)
      const answer = answers.shift()
      if (!answer || answer instanceof Error) throw answer ?? new Error('nothing more')
      return answer
    },
    { lines: (more) => lines.push(...more), state: (state) => states.push(state) },
    () => answers.length > 0,
    async () => undefined,
  )
  await reader.run(query)
  return { lines, states, asked }
}

describe('following a log', () => {
  it('goes on where it was, and shows no line twice', async () => {
    const { lines, asked, states } = await follow([
      streamOf('2026-01-01T00:00:01Z a\n2026-01-01T00:00:02Z b\n2026-01-01T0', '0:00:02Z b\n'),
      new Error('cut'),
      streamOf('2026-01-01T00:00:01Z a\n2026-01-01T00:00:02Z b\n2026-01-01T00:00:02Z b\n2026-01-01T00:00:02Z b\n2026-01-01T00:00:03Z c\n'),
    ])
    expect(lines.map((line) => line.slice(18))).toEqual(['1Z a', '2Z b', '2Z b', '2Z b', '3Z c'])
    expect(asked[0]).toEqual({ timestamps: 'true', stream: 'all', follow: 'true', tailLines: '10' })
    expect(asked[2]).toEqual({ timestamps: 'true', stream: 'all', follow: 'true', sinceTime: '2026-01-01T00:00:02Z' })
    expect(states.at(-1)).toBe('ended')
  })

  it('stops at a refusal, and goes on after what passes', async () => {
    expect((await follow([new ApiError(403, 'no'), streamOf('x\n')])).states).toEqual(['connecting', 'failed'])
    expect((await follow([new ApiError(503, 'away'), streamOf('2026-01-01T00:00:01Z x\n')])).lines).toHaveLength(1)
  })

  it('reads the run before once', async () => {
    const { asked, states } = await follow([streamOf('2026-01-01T00:00:01Z old\n'), streamOf('never')], { ...FOLLOW, previous: true })
    expect(asked).toEqual([{ timestamps: 'true', stream: 'all', previous: 'true', tailLines: '10' }])
    expect(states.at(-1)).toBe('ended')
  })
})
