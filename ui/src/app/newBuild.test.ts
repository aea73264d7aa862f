import { expect, it } from 'vitest'
import { mayReload } from './newBuild'

it('loads the page anew for parts of another build, and not again and again', () => {
  expect(mayReload(null, 1000)).toBe(true)
  expect(mayReload('1000', 20_000)).toBe(false)
  expect(mayReload('1000', 40_000)).toBe(true)
})
