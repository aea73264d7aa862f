/** The columns that a kind declares for tables, built-in or defined by users, and the paths they read. Pure. */

export interface PrinterColumn {
  name: string
  /** `.status.conditions[?(@.type=="Ready")].status` */
  path: string
  type: string
  /** Only where there is room. */
  wide: boolean
}

type Step = { name: string } | { index: number } | { where: string[]; equals: string } | { all: true }

const parsed = new Map<string, Step[]>()

/** The subset of JSONPath that columns use: names, indexes, `[*]` and one comparison. */
export function parsePath(path: string): Step[] {
  const before = parsed.get(path)
  if (before) return before
  const steps: Step[] = []
  const pattern = /\[\?\(\s*@\.([\w.]+)\s*==\s*["']([^"']*)["']\s*\)\]|\[(\d+)\]|\[\*\]|\[["']([^"']+)["']\]|\.?((?:\\.|[^.[\]\\])+)/g
  for (const match of path.replace(/^\{|\}$/g, '').replace(/^\$/, '').matchAll(pattern)) {
    if (match[1] !== undefined) steps.push({ where: match[1].split('.'), equals: match[2]! })
    else if (match[3] !== undefined) steps.push({ index: Number(match[3]) })
    else if (match[4] !== undefined) steps.push({ name: match[4] })
    else if (match[5] !== undefined) steps.push({ name: match[5].replace(/^\./, '').replace(/\\(.)/g, '$1') })
    else steps.push({ all: true })
  }
  parsed.set(path, steps)
  return steps
}

export function valueAt(object: unknown, path: string): unknown {
  let found: unknown[] = [object]
  for (const step of parsePath(path)) {
    found = found.flatMap((value): unknown[] => {
      if (value === null || typeof value !== 'object') return []
      if ('all' in step) return Array.isArray(value) ? value : Object.values(value)
      if ('index' in step) return Array.isArray(value) && value.length > step.index ? [value[step.index]] : []
      if ('where' in step) {
        return (Array.isArray(value) ? value : []).filter((item) => {
          let current: unknown = item
          for (const name of step.where) current = (current as Record<string, unknown> | undefined)?.[name]
          return String(current) === step.equals
        })
      }
      const next = (value as Record<string, unknown>)[step.name]
      return next === undefined ? [] : [next]
    })
  }
  return found.length > 1 ? found : found[0]
}

/** What a cell shows and is sorted by. */
export function cellOf(object: unknown, column: PrinterColumn): string | number | boolean | undefined {
  const value = valueAt(object, column.path)
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string') return value
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object')) return value.join(', ')
  return JSON.stringify(value)
}
