/** What may be typed at a place of a workflow's YAML: keys of a node, types, rules, names of nodes, tasks and workflows. Pure. */
import { NODE_TYPES, TRIGGER_RULES } from '../model/definition'

const NODE_KEYS = [
  'name', 'type', 'displayName', 'description', 'dependsOn', 'triggerRule', 'when', 'taskRef', 'payload', 'config', 'condition', 'compare', 'cases', 'defaultCase', 'count',
  'while', 'until', 'maxIterations', 'variable', 'items', 'maxParallel', 'maxFailures', 'body', 'waitPolicy', 'workflowRef', 'params', 'delegate', 'wait', 'timeout', 'retry',
  'continueOnFailure', 'priority', 'concurrency', 'execution', 'nodeName', 'nodeSelector',
]
const SPEC_KEYS = [
  'state', 'description', 'version', 'owner', 'tags', 'template', 'archived', 'params', 'variables', 'concurrencyPolicy', 'maxConcurrent', 'maxParallel', 'priority', 'timeout', 'nodes',
  'outputs', 'onFailure', 'finally', 'reservations', 'hooks', 'keepRuns',
]
const VALUES: Readonly<Record<string, readonly string[]>> = {
  type: NODE_TYPES, triggerRule: TRIGGER_RULES, state: ['Draft', 'Active', 'Paused'], concurrencyPolicy: ['Allow', 'Queue', 'Forbid', 'Replace'],
  waitPolicy: ['all', 'any'], continueOnFailure: ['true', 'false'], execution: ['AtLeastOnce', 'AtMostOnce'],
}

/** `known` has names by key: `taskRef`, `workflowRef`, `node`. */
export function completionsAt(text: string, at: number, known: Readonly<Record<string, readonly string[]>>): { from: number; options: string[] } | null {
  const start = text.lastIndexOf('\n', at - 1) + 1
  const line = text.slice(start, at)
  const word = /[\w.-]*$/.exec(line)?.[0] ?? ''
  const from = at - word.length
  const head = line.slice(0, line.length - word.length)
  const value = /([A-Za-z]+):\s*\[?(?:[\w.-]+,\s*)*"?$/.exec(head)
  if (value?.[1]) {
    const key = value[1]
    const options = VALUES[key] ?? known[key === 'dependsOn' ? 'node' : key]
    return options ? { from, options: [...options] } : null
  }
  if (/\{(?:[^{}]*,)?\s*$/.test(head) && /-\s*\{/.test(head)) return { from, options: NODE_KEYS }
  if (!/^\s*(-\s+)?$/.test(head)) return null
  const indent = head.replace('-', ' ').length
  return { from, options: indent <= 2 && indent > 0 ? SPEC_KEYS : indent === 0 ? ['apiVersion', 'kind', 'metadata', 'spec'] : NODE_KEYS }
}
