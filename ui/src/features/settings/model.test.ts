import { describe, expect, it } from 'vitest'
import { bytes, shown } from './model'

describe('sizes', () => {
  it.each([[0, '0 B'], [1023, '1023 B'], [1536, '1.5 KiB'], [10 * 2 ** 20, '10.0 MiB'], [300 * 2 ** 30, '300 GiB'], [5000 * 2 ** 40, '5000 TiB']])('%i is %s', (count, text) => {
    expect(bytes(count)).toBe(text)
  })
})

describe('values', () => {
  it('shows that there is none', () => expect(shown('')).toBe('–'))
  it('shows no and nought', () => expect([shown(false), shown(0)]).toEqual(['false', '0']))
})
