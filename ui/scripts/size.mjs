/**
 * What a browser loads before the first page is on the screen, compressed, against its limit: `node scripts/size.mjs [FOLDER]`.
 *
 * That is the entry, everything it imports, the page that `/` leads to, the bigger language, and their styles; read from the
 * build's own manifest.
 */

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { gzipSync } from 'node:zlib'

const LIMIT = 500 * 1024
const FIRST_PAGE = /features\/overview\/.*Page\.vue$/

const folder = resolve(process.argv[2] ?? '../controller/plum_controller/ui_dist')
const manifest = JSON.parse(readFileSync(`${folder}/.vite/manifest.json`, 'utf8'))
const files = new Set(['index.html'])

function add(key) {
  const chunk = manifest[key]
  if (!chunk || files.has(chunk.file)) return
  files.add(chunk.file)
  for (const style of chunk.css ?? []) files.add(style)
  for (const next of chunk.imports ?? []) add(next)
}

for (const [key, chunk] of Object.entries(manifest)) if (chunk.isEntry || FIRST_PAGE.test(key)) add(key)
const languages = Object.values(manifest).filter((chunk) => /\/locale-\w\w-/.test(chunk.file)).map((chunk) => chunk.file)
languages.sort((a, b) => readFileSync(`${folder}/${b}`).length - readFileSync(`${folder}/${a}`).length)
if (languages[0]) files.add(languages[0])
const sizes = [...files].map((file) => [file, gzipSync(readFileSync(`${folder}/${file}`), { level: 9 }).length]).sort((a, b) => b[1] - a[1])
const total = sizes.reduce((sum, [, size]) => sum + size, 0)
const kb = (size) => `${(size / 1024).toFixed(1)} KB`
console.log(`first load: ${kb(total)} gzip in ${sizes.length} files, limit ${kb(LIMIT)}`)
if (total > LIMIT || process.argv.includes('--all')) for (const [file, size] of sizes) console.log(`  ${kb(size).padStart(10)}  ${file}`)
if (total > LIMIT) {
  console.error(`the first load is ${kb(total - LIMIT)} too big; load what the first page does not need with its own page`)
  process.exit(1)
}
