import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bodyOf, bytesIn, entryOf, entryPath, lockOf, matches, shownValue, typedValue, type KvEntry } from './values'

const entry = (parts: Partial<KvEntry>): KvEntry => ({ namespace: 'plant', key: 'level', type: 'int', value: 80, revision: '7', ttl: '', expiresAt: '', ...parts })

describe('entries', () => {
  it('come from objects, with the key that clients say', () => {
    const object = { metadata: { name: 'alarm-pump-3-1f', namespace: 'plant', resourceVersion: '24' }, spec: { key: 'alarm/pump 3', type: 'string', value: 'on', ttl: '10m', expiresAt: null } }
    expect(entryOf(object)).toEqual({ namespace: 'plant', key: 'alarm/pump 3', type: 'string', value: 'on', revision: '24', ttl: '10m', expiresAt: '' })
    expect(entryOf({ metadata: { name: 'level', resourceVersion: '1' }, spec: {} }).key).toBe('level')
  })

  it('have an address whatever their key is', () => {
    expect(entryPath('plant', '../a b&c/')).toBe('/kv/plant?key=..%2Fa%20b%26c%2F')
  })

  it('are locks when they say who holds them', () => {
    expect(lockOf(entry({ type: 'json', value: { holder: 'a', token: 3 } }))).toEqual({ holder: 'a', token: 3 })
    expect(lockOf(entry({ type: 'json', value: { holder: 'a' } }))).toBeUndefined()
    expect(lockOf(entry({}))).toBeUndefined()
  })

  it('are found by the words of key and value', () => {
    expect(matches(entry({}), 'LEV 80')).toBe(true)
    expect(matches(entry({}), 'lev 81')).toBe(false)
    expect(matches(entry({}), '')).toBe(true)
  })
})

describe('values', () => {
  it.each([
    ['int', '1.5', 'int'], ['int', '', 'int'], ['int', '9223372036854775808', 'int64'], ['double', 'x', 'double'], ['double', '', 'double'],
    ['bool', 'yes', 'bool'], ['json', '{', 'json'], ['bytes', '***', 'base64'],
  ] as const)('of type %s refuse %s', (type, typed, problem) => {
    expect(bodyOf(type, typed).problem).toBe(problem)
  })

  it('keep whole numbers of 64 bits as they were typed', () => {
    expect(bodyOf('int', ' +9223372036854775807 ').body).toBe('9223372036854775807')
  })

  it('are what was shown in the editor', () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: true }), (value) => {
        expect(JSON.parse(bodyOf('json', typedValue('json', value)).body as string)).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
    fc.assert(
      fc.property(fc.string(), (value) => {
        expect(bodyOf('string', typedValue('string', value)).body).toBe(value)
      }),
    )
  })

  it('of bytes are shown as their size', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        const text = btoa(String.fromCharCode(...bytes))
        expect(bytesIn(text)).toBe(bytes.length)
        expect([...(bodyOf('bytes', text).body as Uint8Array)]).toEqual([...bytes])
      }),
    )
    expect(shownValue('bytes', 'AAEC')).toBe('3 B')
    expect(shownValue('string', 'a"b')).toBe('a"b')
    expect(shownValue('json', 'a"b')).toBe('"a\\"b"')
  })
})
