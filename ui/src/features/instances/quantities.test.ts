import { describe, expect, it } from 'vitest'
import { formatBytes, formatCores, formatResource, parseQuantity, percentOf } from './quantities'

describe('quantities', () => {
  it.each([
    ['500m', 0.5],
    ['2', 2],
    ['64Mi', 64 * 1024 * 1024],
    ['1.5G', 1.5e9],
    ['1e3', 1000],
    ['12E', 12e18],
    ['-5m', -0.005],
    ['.5', 0.5],
  ])('reads %s', (text, amount) => {
    expect(parseQuantity(text)).toBeCloseTo(amount, 12)
  })

  it.each(['', 'Mi', '1MiB', 'abc', '1e', '--1', undefined, null])('takes %s for no quantity', (text) => {
    expect(parseQuantity(text)).toBeUndefined()
  })

  it('shows bytes in the unit that people read', () => {
    expect([0, 1023, 1024, 1536, 134217728, 25 * 2 ** 30].map(formatBytes)).toEqual([
      '0 B',
      '1023 B',
      '1 KiB',
      '1.5 KiB',
      '128 MiB',
      '25 GiB',
    ])
  })

  it('shows cores without zeros that say nothing', () => {
    expect([0, 0.0041, 0.25, 2, 12.34].map(formatCores)).toEqual(['0', '0.004', '0.25', '2', '12.3'])
  })

  it('shows a resource by its name', () => {
    expect(formatResource('memory', 1024)).toBe('1 KiB')
    expect(formatResource('cpu', 1.5)).toBe('1.5')
    expect(formatResource('instances', 250)).toBe('250')
  })

  it("has no share without a whole and keeps to a bar's length", () => {
    expect(percentOf(1, 0)).toBeUndefined()
    expect(percentOf(undefined, 2)).toBeUndefined()
    expect(percentOf(3, 2)).toBe(100)
  })
})
