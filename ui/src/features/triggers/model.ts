/** What a trigger waits for, in a few words; and a trigger made from a form. Pure. */
import type { Json } from '@/components/yaml/json'
import { isMap } from '../workflows/model/definition'
import type { JsonMap } from '../workflows/model/definition'

export const SOURCES = ['cron', 'event', 'webhook', 'condition', 'run'] as const
export type Source = (typeof SOURCES)[number] | 'manual'

export function sourceOf(spec: unknown): Source {
  if (!isMap(spec)) return 'manual'
  return SOURCES.find((one) => isMap(spec[one])) ?? 'manual'
}

export function summaryOf(spec: unknown): string {
  const source = sourceOf(spec)
  const own = isMap(spec) && isMap(spec[source]) ? spec[source] : {}
  const text = (value: Json | undefined): string => (value === undefined || value === null ? '' : String(value))
  switch (source) {
    case 'cron': return [text(own.schedule), text(own.timezone)].filter(Boolean).join(' ')
    case 'event': return own.type ? text(own.type) : [text(own.kind), text(own.name), Array.isArray(own.changes) ? own.changes.join(', ') : ''].filter(Boolean).join(' ')
    case 'webhook': return `${text(own.method) || 'POST'} /hooks/…/${text(own.path).replace(/^\//, '')}`
    case 'condition': return text(own.expression)
    case 'run': return [text(own.workflowRef), Array.isArray(own.phases) ? own.phases.join(', ') : ''].filter(Boolean).join(' → ')
    default: return ''
  }
}

export interface TriggerForm {
  name: string
  workflowRef: string
  source: Source
  schedule: string
  timezone: string
  concurrencyPolicy: string
  catchUp: string
  kind: string
  eventType: string
  changes: string[]
  when: string
  path: string
  secretName: string
  secretKey: string
  expression: string
  forTime: string
  after: string
  phases: string[]
  params: JsonMap
}

export function emptyForm(workflowRef = ''): TriggerForm {
  return {
    name: '', workflowRef, source: 'cron', schedule: '0 2 * * *', timezone: 'UTC', concurrencyPolicy: 'Allow', catchUp: 'None', kind: '', eventType: '', changes: [], when: '',
    path: '', secretName: '', secretKey: 'key', expression: '', forTime: '', after: '', phases: [], params: {},
  }
}

/** The spec that a form asks for: only what was said. */
export function specOf(form: TriggerForm): JsonMap {
  const spec: JsonMap = { workflowRef: form.workflowRef }
  if (Object.keys(form.params).length > 0) spec.params = form.params
  switch (form.source) {
    case 'cron':
      spec.cron = { schedule: form.schedule, timezone: form.timezone, ...(form.concurrencyPolicy !== 'Allow' ? { concurrencyPolicy: form.concurrencyPolicy } : {}), ...(form.catchUp !== 'None' ? { catchUp: form.catchUp } : {}) }
      break
    case 'event':
      spec.event = { ...(form.kind ? { kind: form.kind } : {}), ...(form.eventType ? { type: form.eventType } : {}), ...(form.changes.length ? { changes: form.changes } : {}), ...(form.when ? { when: form.when } : {}) }
      break
    case 'webhook':
      spec.webhook = { path: form.path, ...(form.secretName ? { secretRef: { name: form.secretName, key: form.secretKey } } : {}), ...(form.when ? { when: form.when } : {}) }
      break
    case 'condition':
      spec.condition = { expression: form.expression, ...(form.forTime ? { for: form.forTime } : {}) }
      break
    case 'run':
      spec.run = { workflowRef: form.after, ...(form.phases.length ? { phases: form.phases } : {}) }
      break
    case 'manual':
  }
  return spec
}

/** The end of a list of times, in the zone of the trigger. */
export function timeIn(time: string, zone: string, locale: string): string {
  const date = new Date(time)
  if (Number.isNaN(date.getTime())) return time
  const options: Intl.DateTimeFormatOptions = { dateStyle: 'medium', timeStyle: 'short', timeZone: zone || 'UTC' }
  try {
    return date.toLocaleString(locale === 'zh' ? 'zh-CN' : 'en-GB', options)
  } catch {
    return date.toLocaleString(locale === 'zh' ? 'zh-CN' : 'en-GB', { ...options, timeZone: 'UTC' })
  }
}
