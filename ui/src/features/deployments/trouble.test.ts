import { describe, expect, it } from 'vitest'
import { instance } from './testing'
import { troublesOf } from './trouble'

describe('trouble', () => {
  it('is told once, the most urgent first, and what is fine is none', () => {
    const found = troublesOf([
      instance('web-1', 'n', { phase: 'Starting', message: 'web-1 fetches' }),
      instance('web-2', 'n', { phase: 'Starting', message: 'web-2 fetches' }),
      instance('web-3', 'n', { phase: 'Failed', reason: 'Error' }),
      instance('web-4', 'n'),
    ])
    expect(found.map((one) => [one.standing, one.says, one.count])).toEqual([
      ['failed', 'Error', 1],
      ['starting', 'web-1 fetches', 2],
    ])
  })

  it('of the scheduler is what nodes refused', () => {
    const refusals = [{ nodeName: 'a', reason: 'InsufficientCpu' }, { nodeName: 'b', reason: 'InsufficientCpu' }, { nodeName: 'c', reason: 'PortInUse', message: '80 is taken' }]
    expect(troublesOf([instance('w', '', { phase: 'Pending', scheduling: { refusals } })])[0]?.says).toBe('InsufficientCpu; PortInUse: 80 is taken')
  })
})
