/** Words that pages use and no language has. A missing translation fails the type check; a missing original fails here. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(__dirname, '..')

function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    return statSync(path).isDirectory() ? filesBelow(path) : /\.(vue|ts)$/.test(name) && !name.endsWith('.test.ts') ? [path] : []
  })
}

const locales = import.meta.glob<{ default: Record<string, unknown> }>(['../features/*/locales/*.ts', './locales/*.ts', '../components/locales/*.ts'], { eager: true })

function messagesOf(language: string): Record<string, unknown> {
  const messages: Record<string, unknown> = {}
  for (const [path, module] of Object.entries(locales)) {
    if (!path.endsWith(`/${language}.ts`)) continue
    messages[/features\/([^/]+)\//.exec(path)?.[1] ?? (path.includes('components/') ? 'common' : 'app')] = module.default
  }
  return messages
}

function at(messages: unknown, key: string): unknown {
  return key.split('.').reduce<unknown>((value, name) => (value as Record<string, unknown> | undefined)?.[name], messages)
}

describe('words', () => {
  it.each(['en', 'zh'])('are there for every key that is written out: %s', (language) => {
    const messages = messagesOf(language)
    const missing = filesBelow(root).flatMap((path) => {
      const text = readFileSync(path, 'utf8')
      return [...text.matchAll(/\b(?:t|te|translate)\(\s*'([a-z]\w*(?:\.\w+)+)'/g)]
        .map((match) => match[1]!)
        .filter((key) => typeof at(messages, key) !== 'string')
        .map((key) => `${path.slice(root.length + 1)}: ${key}`)
    })

    expect(missing).toEqual([])
  })

  it('have the same placeholders in both languages', () => {
    const [en, zh] = [messagesOf('en'), messagesOf('zh')]
    const differ: string[] = []
    const walk = (one: unknown, other: unknown, path: string): void => {
      if (typeof one === 'string') {
        const names = (text: unknown): string => [...new Set([...String(text).matchAll(/\{(\w+)\}/g)].map((match) => match[1]!))].sort().join()
        if (names(one) !== names(other)) differ.push(`${path}: ${names(one)} | ${names(other)}`)
      } else if (one && typeof one === 'object') for (const name of Object.keys(one)) walk((one as Record<string, unknown>)[name], (other as Record<string, unknown> | undefined)?.[name], `${path}.${name}`)
    }
    walk(en, zh, '')

    expect(differ).toEqual([])
  })
})
