import { describe, expect, it } from 'vitest'
import type { AnyObj } from '@/api/objects'
import { eachOf, listed, useBulk } from './bulk'

const object = (name: string): AnyObj => ({ apiVersion: 'v1', kind: 'ConfigMap', spec: undefined, metadata: { name, namespace: 'default', uid: name, resourceVersion: '1', creationTimestamp: '' } })

describe('an action over many', () => {
  it('goes on after a refusal, a few at a time', async () => {
    let under = 0
    let most = 0
    const items = Array.from({ length: 9 }, (_, index) => object(`c${index}`))
    const { done, refused } = await eachOf(items, async (item) => {
      most = Math.max(most, (under += 1))
      await Promise.resolve()
      under -= 1
      if (item.metadata.name === 'c3') throw new Error('held')
    }, 3)
    expect([done.length, refused, most]).toEqual([8, [{ key: 'default/c3', name: 'c3', why: 'held' }], 3])
  })
  it('leaves out where it is not possible, and keeps chosen what was refused', async () => {
    const items = ['a', 'b', 'c'].map(object)
    const bulk = useBulk(() => items)
    bulk.selected.value = new Set(['default/a', 'default/b', 'default/c'])
    const why = (item: AnyObj): string => (item.metadata.name === 'a' ? 'it runs already' : '')
    expect([bulk.blockedOf(why), bulk.blockedOf(() => 'no')]).toEqual(['', 'no'])
    const asked: string[] = []
    const fine = await bulk.run('start', why, async (item) => {
      asked.push(item.metadata.name)
      if (item.metadata.name === 'c') throw new Error('held')
    }, (names) => names)
    expect([fine, asked, [...bulk.selected.value]]).toEqual([false, ['b', 'c'], ['default/c']])
  })
  it('tells a few names and how many there are', () => {
    expect([listed(['a', 'b']), listed(['a', 'b', 'c', 'd', 'e', 'f'])]).toEqual(['a, b', 'a, b, c, d, e … (6)'])
  })
})
