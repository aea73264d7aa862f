/**
 * The last runs of a workflow side by side: a line per node, a column per run, so that it is seen at once what fails again and again.
 *
 *     runs (newest last) with their rows --gridOf--> lines of cells
 */
import { nameOf, nodesOf } from '../../workflows/model/definition'
import { parseKey } from './rows'
import type { Row } from './rows'

export interface GridCell {
  phase: string
  row: Row | null
}
export interface GridLine {
  /** `scan`, or `finally:close`. */
  key: string
  name: string
  cells: GridCell[]
}

/** Lines in the order of the definition, then nodes that only earlier definitions had. */
export function gridOf(spec: unknown, runs: readonly ReadonlyMap<string, Row>[]): GridLine[] {
  const keys: string[] = []
  const definition = (spec ?? {}) as Record<string, unknown>
  for (const node of nodesOf(definition.nodes)) keys.push(nameOf(node))
  for (const part of ['onFailure', 'finally'] as const) for (const node of nodesOf(definition[part])) keys.push(`${part}:${nameOf(node)}`)
  const known = new Set(keys)
  for (const rows of runs)
    for (const key of rows.keys())
      if (!known.has(key) && isTop(key)) {
        known.add(key)
        keys.push(key)
      }
  return keys.map((key) => ({
    key,
    name: key.slice(key.indexOf(':') + 1),
    cells: runs.map((rows) => ({ phase: rows.get(key)?.phase ?? '', row: rows.get(key) ?? null })),
  }))
}

function isTop(key: string): boolean {
  const { path } = parseKey(key)
  return path.length === 1 && path[0]?.iteration === null
}
