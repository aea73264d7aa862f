/** Which fields the form of a node has, by type. What is not here is edited as YAML beside it. */
import { TRIGGER_RULES } from '../model/definition'
import type { NodeType } from '../model/definition'

export type FieldKind = 'text' | 'code' | 'expression' | 'number' | 'switch' | 'duration' | 'select' | 'yaml' | 'task' | 'workflow' | 'node' | 'resource' | 'worker' | 'list'
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
/** Values of secrets are named, never written. */
const SECRET = '${{ secrets.NAME.KEY }}'
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']

const CONDITION: Field[] = [
  field('condition', 'expression', { placeholder: 'nodes.scan.output.contacts > 0', instead: ['cases', 'compare'] }),
  field('compare', 'yaml', { placeholder: "{sourceTask: scan, field: contacts, operator: '>', value: '0'}", instead: ['cases', 'condition'] }),
]

export const NODE_FIELDS: Readonly<Record<NodeType, readonly Field[]>> = {
  task: [field('taskRef', 'task'), field('payload', 'yaml', { placeholder: 'zone: "${{ params.zone }}"' })],
  subworkflow: [field('workflowRef', 'workflow'), field('params', 'yaml'), field('delegate.nodeName', 'node', { instead: ['delegate.nodeSelector'] }), field('delegate.nodeSelector', 'yaml', { placeholder: 'zone: a', instead: ['delegate.nodeName'] }), field('delegate.lostAfter', 'duration', { placeholder: '1h' })],
  condition: CONDITION,
  branch: [...CONDITION, field('cases', 'yaml', { placeholder: '- {name: many, condition: nodes.scan.output.n > 5}', instead: ['condition', 'compare'] }), field('defaultCase', 'text')],
  parallel: [field('maxParallel', 'number'), field('waitPolicy', 'select', { options: ['all', 'any'] })],
  loop: [
    field('count', 'number', { instead: ['while', 'until'] }), field('while', 'expression', { instead: ['count', 'until'] }),
    field('until', 'expression', { instead: ['count', 'while'] }), field('maxIterations', 'number'), field('variable', 'text', { placeholder: 'i' }),
  ],
  map: [field('items', 'yaml', { placeholder: '${{ nodes.scan.output.zones }}' }), field('variable', 'text', { placeholder: 'item' }), field('maxParallel', 'number'), field('maxFailures', 'text', { placeholder: '0, 2, 10%' })],
  wait: [],
  http: [
    config('url', 'text'), config('method', 'select', { options: METHODS }), config('query', 'yaml'), config('headers', 'yaml'), config('body', 'yaml'), config('expect', 'yaml', { placeholder: '[200, 404]' }),
    config('redirects', 'number'), config('timeout', 'duration'),
  ],
  webhook: [
    config('url', 'text'), config('method', 'select', { options: ['POST', 'PUT'] }), config('event', 'text'), config('body', 'yaml'), config('headers', 'yaml'), config('secret', 'text', { placeholder: SECRET }),
    config('timeout', 'duration'),
  ],
  script: [
    config('code', 'code', { instead: ['config.script', 'config.command'] }), config('script', 'text', { instead: ['config.code', 'config.command'] }),
    config('command', 'yaml', { instead: ['config.code', 'config.script'], placeholder: '[sh, -c, "echo hello"]' }), config('interpreter', 'text', { placeholder: 'python3' }),
    config('args', 'yaml'), config('env', 'yaml'), config('input', 'code'), config('workingDir', 'text'), config('user', 'text'), config('node', 'node'), config('nodeSelector', 'yaml', { placeholder: 'zone: a' }),
    config('timeout', 'duration'), field('payload', 'yaml'),
  ],
  agent: [
    config('agent', 'worker', { instead: ['config.task'] }), config('task', 'task', { instead: ['config.agent'] }), config('input', 'yaml'), config('node', 'node'), config('nodeSelector', 'yaml', { placeholder: 'zone: a' }),
    config('timeout', 'duration'),
  ],
  llm: [
    config('url', 'text'), config('model', 'text'), config('system', 'code'), config('prompt', 'code'), config('messages', 'yaml', { placeholder: '- {role: user, content: Hello}' }), config('apiKey', 'text', { placeholder: SECRET }),
    config('temperature', 'number'), config('maxTokens', 'number'), config('json', 'switch'), config('options', 'yaml'), config('headers', 'yaml'), config('timeout', 'duration'),
  ],
  mcp: [
    config('url', 'text'), config('tool', 'text', { instead: ['config.resource', 'config.prompt', 'config.list'] }), config('resource', 'text', { instead: ['config.tool', 'config.prompt', 'config.list'] }),
    config('prompt', 'text', { instead: ['config.tool', 'config.resource', 'config.list'] }), config('list', 'select', { options: ['tools', 'resources', 'prompts'], instead: ['config.tool', 'config.resource', 'config.prompt'] }),
    config('arguments', 'yaml'), config('headers', 'yaml'), config('timeout', 'duration'),
  ],
  database: [
    config('url', 'text'), config('query', 'code'), config('statements', 'yaml', { placeholder: '["delete from log", "vacuum"]' }), config('params', 'yaml'), config('maxRows', 'number'), config('readOnly', 'switch'),
    config('timeout', 'duration'),
  ],
  operation: [config('resource', 'resource'), config('method', 'text'), config('arguments', 'yaml'), config('delivery', 'select', { options: ['AtMostOnce', 'AtLeastOnce'] }), config('notAfter', 'duration')],
  email: [
    config('to', 'list'), config('cc', 'list'), config('bcc', 'list'), config('from', 'text'), config('replyTo', 'text'), config('subject', 'text'), config('text', 'code'), config('body', 'code'), config('html', 'code'),
    config('server', 'text', { placeholder: 'mail.example.com:587' }), config('security', 'select', { options: ['none', 'starttls', 'tls'] }), config('username', 'text'), config('password', 'text', { placeholder: SECRET }),
    config('timeout', 'duration'),
  ],
}

export const WHEN_FIELDS: readonly Field[] = [field('when', 'expression'), field('triggerRule', 'select', { options: TRIGGER_RULES })]

/** Types that are not tried again. */
const NOT_TRIED_AGAIN: ReadonlySet<NodeType> = new Set(['branch', 'condition', 'parallel', 'loop', 'map', 'wait'])

export function failureFields(type: NodeType): Field[] {
  const retry = NOT_TRIED_AGAIN.has(type) ? [] : [field('retry.limit', 'number'), field('retry.initial', 'duration', { placeholder: '1s' }), field('retry.factor', 'number'), field('retry.max', 'duration', { placeholder: '5m' }), field('retry.jitter', 'number'), field('retry.on', 'list', { placeholder: 'Timeout, WorkerLost' })]
  return [field('timeout', 'duration', { placeholder: '30s' }), ...retry, field('continueOnFailure', 'switch')]
}

/** Types whose work is handed to somebody: each attempt is a task. */
const NOT_TASKS: ReadonlySet<NodeType> = new Set([...NOT_TRIED_AGAIN, 'subworkflow'])
const PLACED: ReadonlySet<NodeType> = new Set(['task', 'script', 'agent'])

export function placeFields(type: NodeType): Field[] {
  const place = PLACED.has(type) ? [field('nodeName', 'node'), field('nodeSelector', 'yaml', { placeholder: 'zone: a' })] : []
  if (NOT_TASKS.has(type)) return type === 'subworkflow' ? [field('priority', 'number')] : place
  return [
    ...place, field('priority', 'number'), field('concurrency.key', 'text', { placeholder: '${{ params.customer }}' }), field('concurrency.limit', 'number'),
    field('concurrency.onLimit', 'select', { options: ['Queue', 'Reject', 'Replace'] }), field('execution', 'select', { options: ['AtLeastOnce', 'AtMostOnce'] }),
  ]
}

export const WAIT_KINDS = ['approval', 'duration', 'until', 'event', 'condition'] as const
export type WaitKind = (typeof WAIT_KINDS)[number]
export const WAIT_FIELDS: Readonly<Record<WaitKind, readonly Field[]>> = {
  approval: [field('wait.approval.message', 'text'), field('wait.approval.approvers', 'list')],
  duration: [field('wait.duration', 'duration', { placeholder: '10m' })],
  until: [field('wait.until', 'text', { placeholder: '2026-12-24T18:00:00Z' })],
  event: [field('wait.event.kind', 'text', { placeholder: 'Deployment', instead: ['wait.event.type'] }), field('wait.event.name', 'text'), field('wait.event.namespace', 'text'), field('wait.event.selector', 'yaml', { placeholder: 'matchLabels: {app: web}' }), field('wait.event.changes', 'list', { placeholder: 'Added, Modified, Deleted' }), field('wait.event.apiVersion', 'text', { placeholder: 'plum.dev/v1' }), field('wait.event.type', 'text', { instead: ['wait.event.kind'] }), field('wait.event.when', 'expression')],
  condition: [field('wait.condition', 'expression', { placeholder: 'kv("plant", "level") > 80' })],
}
