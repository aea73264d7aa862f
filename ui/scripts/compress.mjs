/**
 * Compressed copies beside the files of a build, which the controller sends as they are: `node scripts/compress.mjs FOLDER`.
 *
 * Small files are left alone: a packet holds them anyway.
 */

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const AT_LEAST = 1400

function* below(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (statSync(path).isDirectory()) yield* below(path)
    else if (/\.(js|css|html|svg|json)$/.test(name)) yield path
  }
}

for (const path of below(resolve(process.argv[2]))) {
  const content = readFileSync(path)
  if (content.length < AT_LEAST || path.includes('.vite')) continue
  // Quality 9 is three percent bigger than 11 and takes a tenth of its time.
  writeFileSync(`${path}.br`, brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: content.length } }))
  writeFileSync(`${path}.gz`, gzipSync(content, { level: 9 }))
}
