/**
 * Types from the API's own description: `npm run api` writes src/api/generated, `npm run api:check` fails when it is stale.
 *
 * The OpenAPI document is asked of the controller's code, not of a running controller, so that a build needs no server.
 */

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString } from 'openapi-typescript'

const here = dirname(fileURLToPath(import.meta.url))
const folder = resolve(here, '../src/api/generated')
const python = process.env.PLUM_PYTHON ?? resolve(here, '../../.venv/bin/python')
const PROGRAM = `
import json, sys
from plum_controller.api.openapi import group_document
from plum_controller.resources.registry import Registry
kinds = list(Registry().all())
columns = {
    f"{kind.info.group}/{kind.info.kind}": [
        {"name": column.name, "path": column.path, "type": column.type, "wide": column.priority > 0} for column in kind.info.columns
    ]
    for kind in kinds
}
document = group_document([kind for kind in kinds if kind.info.group == "plum.dev"], "0")
json.dump({"document": document, "columns": columns}, sys.stdout)
`

const { document, columns } = JSON.parse(execFileSync(python, ['-c', PROGRAM], { maxBuffer: 64 * 1024 * 1024, encoding: 'utf8' }))
// Types of objects are what the pages need; paths are built by kinds.ts.
const ast = await openapiTS({ ...document, paths: {}, components: { schemas: document.components.schemas } }, { alphabetize: true, defaultNonNullable: false })
const MARK = '// Generated from the controller\'s description of its API by `npm run api`. Do not edit.'
const files = {
  'plum.ts': `${MARK}\n/* eslint-disable */\n${astToString(ast)}`,
  'columns.ts': `${MARK}\nimport type { PrinterColumn } from '../columns'\n\nexport const columns: Record<string, PrinterColumn[]> = ${JSON.stringify(columns, null, 1)}\n`,
}

mkdirSync(folder, { recursive: true })
for (const [name, code] of Object.entries(files)) {
  const target = resolve(folder, name)
  if (!process.argv.includes('--check')) {
    writeFileSync(target, code)
    continue
  }
  let present = ''
  try {
    present = readFileSync(target, 'utf8')
  } catch {
    // a missing file is a stale one
  }
  if (present !== code) {
    console.error(`ui/src/api/generated/${name} is not what the API says; run \`npm run api\` in ui/`)
    process.exitCode = 1
  }
}
