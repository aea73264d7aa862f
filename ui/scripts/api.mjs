/**
 * Types from the API's own description: `npm run api` writes src/api/generated/plum.ts, `npm run api:check` fails when it is stale.
 *
 * The OpenAPI document is asked of the controller's code, not of a running controller, so that a build needs no server.
 */

import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString } from 'openapi-typescript'

const here = dirname(fileURLToPath(import.meta.url))
const target = resolve(here, '../src/api/generated/plum.ts')
const python = process.env.PLUM_PYTHON ?? resolve(here, '../../.venv/bin/python')
const PROGRAM = `
import json, sys
from plum_controller.api.openapi import group_document
from plum_controller.resources.registry import Registry
kinds = [kind for kind in Registry().all() if kind.info.group == "plum.dev"]
json.dump(group_document(kinds, "0"), sys.stdout)
`

const document = JSON.parse(execFileSync(python, ['-c', PROGRAM], { maxBuffer: 64 * 1024 * 1024, encoding: 'utf8' }))
// Types of objects are what the pages need; paths are built by kinds.ts.
const ast = await openapiTS({ ...document, paths: {}, components: { schemas: document.components.schemas } }, { alphabetize: true, defaultNonNullable: false })
const code = `// Generated from the controller's OpenAPI document by \`npm run api\`. Do not edit.\n/* eslint-disable */\n${astToString(ast)}`

if (process.argv.includes('--check')) {
  let present = ''
  try {
    present = readFileSync(target, 'utf8')
  } catch {
    // a missing file is a stale one
  }
  if (present !== code) {
    console.error('ui/src/api/generated/plum.ts is not what the API says; run `npm run api` in ui/')
    process.exit(1)
  }
} else {
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, code)
}
