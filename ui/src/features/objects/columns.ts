/** Columns of the table of any kind. */

import { cellOf, type PrinterColumn } from '@/api/columns'
import { columns as builtin } from '@/api/generated/columns'
import type { KindRef } from '@/api/kinds'
import type { AnyObj } from '@/api/objects'
import type { Column } from '@/components/table'
import { stateOf } from '@/states'

interface Definition {
  versions?: { name: string; additionalPrinterColumns?: { name: string; jsonPath: string; type: string; priority?: number }[] }[]
}

/** What a kind declares; of those that users define, their definition says it. */
export function printerColumns(kind: KindRef, definition?: AnyObj): PrinterColumn[] {
  const known = builtin[`${kind.group}/${kind.kind}`]
  if (known) return known
  const version = (definition?.spec as Definition | undefined)?.versions?.find((each) => each.name === kind.version)
  return (version?.additionalPrinterColumns ?? []).map((column) => ({ name: column.name, path: column.jsonPath, type: column.type, wide: (column.priority ?? 0) > 0 }))
}

/** Name, namespace and age stand in every table; the state replaces the columns that say the same. */
const SAID = new Set(['.metadata.name', '.metadata.namespace', '.metadata.creationTimestamp'])

export function tableColumns(kind: KindRef, declared: readonly PrinterColumn[], labels: { name: string; namespace: string; state: string; age: string }, oneNamespace: boolean): Column[] {
  return [
    { id: 'name', label: labels.name, value: (item) => item.metadata.name, width: 'minmax(180px, 2fr)' },
    ...(kind.namespaced && !oneNamespace ? [{ id: 'namespace', label: labels.namespace, value: (item: AnyObj) => item.metadata.namespace, width: 'minmax(100px, 150px)', wide: true }] : []),
    { id: 'state', label: labels.state, value: (item) => stateWord(item), width: '140px' },
    ...declared
      .filter((column) => !SAID.has(column.path) && !column.wide)
      .map((column): Column => ({
        id: column.name.toLowerCase().replace(/\W+/g, '-'), label: column.name, value: (item) => shown(cellOf(item, column), column.type), wide: true, width: 'minmax(84px, 1fr)',
        align: column.type === 'integer' || column.type === 'number' ? 'end' : undefined, descending: column.type !== 'string',
      })),
    { id: 'age', label: labels.age, value: (item) => -Date.parse(item.metadata.creationTimestamp), width: '90px', descending: false },
  ]
}

/** Times without their zone and fraction; they sort as they are. */
function shown(value: string | number | boolean | undefined, type: string): string | number | boolean | undefined {
  return type === 'date' && typeof value === 'string' ? value.replace('T', ' ').replace(/(\.\d+)?(Z|[+-]\d\d:\d\d)$/, '') : value
}

function stateWord(item: AnyObj): string {
  return stateOf(item).state
}
