/** Which fields the form of a node has, by type. What is not here is edited as YAML beside it. */
import { TRIGGER_RULES } from '../model/definition'
import type { NodeType } from '../model/definition'

export type FieldKind = 'text' | 'code' | 'expression' | 'number' | 'switch' | 'duration' | 'select' | 'yaml' | 'task' | 'workflow' | 'list'
export interface Field {
  /** Path in the node: `config.url`. */
  path: string
  kind: FieldKind
  options?: readonly string[]
  placeholder?: string
  /** Choosing it takes these away: of them only one may be set. */
  instead?: readonly string[]
}

const field = (path: string, kind: FieldKind, more: Partial<Field> = {}): Field => ({ path, kind, ...more })
const config = (name: string, kind: FieldKind, more: Partial<Field> = {}): Field => field(`config.${name}`, kind, more)
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

const CONDITION: Field[] = [field('condition', 'expression', { placeholder: 'nodes.scan.output.contacts > 0', instead: ['cases', 'compare'] })]

export const NODE_FIELDS: Readonly<Record<NodeType, readonly Field[]>> = {
  task: [field('taskRef', 'task'), field('payload', 'yaml', { placeholder: 'zone: "${{ params.zone }}"' })],
  subworkflow: [field('workflowRef', 'workflow'), field('params', 'yaml'), field('delegate.nodeName', 'text', { instead: ['delegate.nodeSelector'] }), field('delegate.nodeSelector', 'yaml', { placeholder: 'zone: a', instead: ['delegate.nodeName'] }), field('delegate.lostAfter', 'duration', { placeholder: '1h' })],
  condition: CONDITION,
  branch: [...CONDITION, field('cases', 'yaml', { placeholder: '- {name: many, condition: nodes.scan.output.n > 5}', instead: ['condition', 'compare'] }), field('defaultCase', 'text')],
  parallel: [field('maxParallel', 'number'), field('waitPolicy', 'select', { options: ['all', 'any'] })],
  loop: [
    field('count', 'number', { instead: ['while', 'until'] }), field('while', 'expression', { instead: ['count', 'until'] }),
    field('until', 'expression', { instead: ['count', 'while'] }), field('maxIterations', 'number'), field('variable', 'text', { placeholder: 'i' }),
  ],
  map: [field('items', 'yaml', { placeholder: '${{ nodes.scan.output.zones }}' }), field('variable', 'text', { placeholder: 'item' }), field('maxParallel', 'number'), field('maxFailures', 'text', { placeholder: '0, 2, 10%' })],
  wait: [],
  http: [config('url', 'text'), config('method', 'select', { options: METHODS }), config('query', 'yaml'), config('headers', 'yaml'), config('body', 'yaml'), config('expect', 'yaml', { placeholder: '[200, 404]' }), config('timeout', 'duration')],
  webhook: [config('url', 'text'), config('method', 'select', { options: METHODS }), config('event', 'text'), config('body', 'yaml'), config('headers', 'yaml'), config('secret', 'text', { placeholder: '${{ secrets.NAME.KEY }}' })],
  script: [
    config('code', 'code', { instead: ['config.script', 'config.command'] }), config('script', 'text', { instead: ['config.code', 'config.command'] }),
    config('command', 'yaml', { instead: ['config.code', 'config.script'], placeholder: '[sh, -c, "echo hello"]' }), config('interpreter', 'text', { placeholder: 'python3' }),
    config('args', 'yaml'), config('env', 'yaml'), config('workingDir', 'text'), config('node', 'text'), field('payload', 'yaml'),
  ],
  agent: [config('agent', 'text', { instead: ['config.task'] }), config('task', 'task', { instead: ['config.agent'] }), config('input', 'yaml'), config('node', 'text')],
  llm: [config('url', 'text'), config('model', 'text'), config('system', 'code'), config('prompt', 'code'), config('apiKey', 'text', { placeholder: '${{ secrets.NAME.KEY }}' }), config('temperature', 'number'), config('maxTokens', 'number'), config('json', 'switch')],
  mcp: [config('url', 'text'), config('tool', 'text'), config('arguments', 'yaml'), config('headers', 'yaml')],
  database: [config('url', 'text'), config('query', 'code'), config('params', 'yaml'), config('maxRows', 'number'), config('readOnly', 'switch')],
  operation: [config('resource', 'text'), config('method', 'text'), config('arguments', 'yaml'), config('delivery', 'select', { options: ['AtMostOnce', 'AtLeastOnce'] }), config('notAfter', 'text')],
  email: [config('to', 'list'), config('cc', 'list'), config('from', 'text'), config('subject', 'text'), config('text', 'code'), config('server', 'text', { placeholder: 'mail.example.com:587' })],
}

export const WHEN_FIELDS: readonly Field[] = [field('when', 'expression'), field('triggerRule', 'select', { options: TRIGGER_RULES })]

/** Types that are not tried again. */
const NOT_TRIED_AGAIN: ReadonlySet<NodeType> = new Set(['branch', 'condition', 'parallel', 'loop', 'map', 'wait'])

export function failureFields(type: NodeType): Field[] {
  const retry = NOT_TRIED_AGAIN.has(type) ? [] : [field('retry.limit', 'number'), field('retry.initial', 'duration', { placeholder: '1s' }), field('retry.max', 'duration', { placeholder: '5m' })]
  return [field('timeout', 'duration', { placeholder: '30s' }), ...retry, field('continueOnFailure', 'switch')]
}

export function placeFields(type: NodeType): Field[] {
  return type === 'task' || type === 'script' ? [field('nodeName', 'text'), field('nodeSelector', 'yaml', { placeholder: 'zone: a' }), field('priority', 'number')] : []
}

export const WAIT_KINDS = ['approval', 'duration', 'until', 'event', 'condition'] as const
export type WaitKind = (typeof WAIT_KINDS)[number]
export const WAIT_FIELDS: Readonly<Record<WaitKind, readonly Field[]>> = {
  approval: [field('wait.approval.message', 'text'), field('wait.approval.approvers', 'list')],
  duration: [field('wait.duration', 'duration', { placeholder: '10m' })],
  until: [field('wait.until', 'text', { placeholder: '2026-12-24T18:00:00Z' })],
  event: [field('wait.event.kind', 'text', { placeholder: 'Deployment', instead: ['wait.event.type'] }), field('wait.event.name', 'text'), field('wait.event.type', 'text', { instead: ['wait.event.kind'] }), field('wait.event.when', 'expression')],
  condition: [field('wait.condition', 'expression', { placeholder: 'kv("plant", "level") > 80' })],
}
