/**
 * The form of a Deployment and the YAML beside it. The text is what counts: the form reads from it and writes into it.
 *
 *   text --readForm--> form --edited--> changed form --writeForm(text, before, after)--> text with those fields changed
 *
 * Only what was changed in the form is written, so what the form does not show, and every comment, stays.
 */

import { joinWords, splitWords } from '../instances/channels'
import type { EnvVar } from '../instances/types'
import { open, print, setItems, setValue } from './yamlEdit'
import type { Path, Problem } from './yamlEdit'

export interface Pair {
  name: string
  value: string
}

export interface EnvRow {
  name: string
  value: string
  /** Set where the value comes from elsewhere; the form shows it and leaves it alone. */
  from?: Record<string, unknown>
}

export interface PortRow {
  name: string
  port: number | undefined
  protocol: string
}

export interface ServiceRow {
  name: string
  port: string
  version: string
}

export type Source = 'artifact' | 'image' | 'command'
export type ProbeKind = 'none' | 'http' | 'tcp' | 'exec'

export interface DeploymentForm {
  name: string
  namespace: string
  labels: Pair[]
  source: Source
  artifactName: string
  artifactVersion: string
  image: string
  command: string
  placement: 'replicas' | 'nodes'
  replicas: number | undefined
  nodeReplicas: { node: string; count: number | undefined }[]
  nodeSelector: Pair[]
  state: 'Running' | 'Stopped'
  env: EnvRow[]
  ports: PortRow[]
  services: ServiceRow[]
  cpuRequest: string
  memoryRequest: string
  cpuLimit: string
  memoryLimit: string
  probe: ProbeKind
  probePort: string
  probePath: string
  probeCommand: string
  probePeriod: string
  strategy: 'RollingUpdate' | 'Recreate' | 'Canary'
  maxSurge: string
  maxUnavailable: string
  onFailure: '' | 'Rollback' | 'Pause' | 'Ignore'
  progressDeadline: number | undefined
  restartPolicy: '' | 'Always' | 'OnFailure' | 'Never'
  exclusive: boolean
}

const T = ['spec', 'template'] as const
const READY = [...T, 'probes', 'readiness'] as const

/** A manifest to begin with. */
export function firstText(namespace: string): string {
  return `apiVersion: plum.dev/v1
kind: Deployment
metadata:
  name: ""
  namespace: ${namespace}
spec:
  replicas: 1
  template:
    runtime: process
`
}

export interface ReadForm {
  form: DeploymentForm | undefined
  problems: Problem[]
}

export function readForm(text: string): ReadForm {
  const { value, problems } = open(text)
  if (value === undefined) return { form: undefined, problems }
  const at = (path: Path): unknown => path.reduce<unknown>((found, step) => (isRecord(found) ? found[step] : undefined), value)
  const words = (path: Path): string => {
    const found = at(path)
    return Array.isArray(found) ? joinWords(found.map(String)) : text_(found)
  }
  const pairs = (path: Path): Pair[] => Object.entries(record(at(path))).map(([name, one]) => ({ name, value: text_(one) }))
  const list = (path: Path): Record<string, unknown>[] => {
    const found = at(path)
    return Array.isArray(found) ? found.filter(isRecord) : []
  }
  const artifact = at([...T, 'artifact'])
  const [artifactName = '', artifactVersion = ''] =
    typeof artifact === 'string' ? cut(artifact) : [text_(record(artifact).name), text_(record(artifact).version)]
  const image = text_(at([...T, 'image']))
  const container = at([...T, 'runtime']) === 'container'
  const env = at([...T, 'env'])
  const probe = record(at(READY))
  const kind = (['http', 'tcp', 'exec'] as const).find((name) => isRecord(probe[name])) ?? 'none'
  const asked = record(kind === 'none' ? {} : probe[kind])
  const strategy = at(['spec', 'strategy'])
  const type = typeof strategy === 'string' ? strategy : text_(record(strategy).type)
  const nodeReplicas = at(['spec', 'nodeReplicas'])
  return {
    problems: [],
    form: {
      name: text_(at(['metadata', 'name'])),
      namespace: text_(at(['metadata', 'namespace'])) || 'default',
      labels: pairs(['metadata', 'labels']),
      source: artifactName ? 'artifact' : image || container ? 'image' : artifact !== undefined ? 'artifact' : 'command',
      artifactName,
      artifactVersion,
      image,
      command: words([...T, 'command']),
      placement: isRecord(nodeReplicas) ? 'nodes' : 'replicas',
      replicas: number(at(['spec', 'replicas'])),
      nodeReplicas: Object.entries(record(nodeReplicas)).map(([node, count]) => ({ node, count: number(count) })),
      nodeSelector: pairs([...T, 'nodeSelector']),
      state: at(['spec', 'state']) === 'Stopped' ? 'Stopped' : 'Running',
      env: isRecord(env)
        ? Object.entries(env).map(([name, one]) => ({ name, value: text_(one) }))
        : list([...T, 'env']).map((one) => ({
            name: text_(one.name),
            value: text_(one.value),
            ...(isRecord(one.valueFrom) ? { from: one.valueFrom } : {}),
          })),
      ports: list([...T, 'ports']).map((one) => ({
        name: text_(one.name),
        port: number(one.port),
        protocol: text_(one.protocol) || 'tcp',
      })),
      services: list([...T, 'services']).map((one) => ({
        name: text_(one.name),
        port: text_(one.port),
        version: text_(one.version),
      })),
      cpuRequest: text_(at([...T, 'resources', 'requests', 'cpu'])),
      memoryRequest: text_(at([...T, 'resources', 'requests', 'memory'])),
      cpuLimit: text_(at([...T, 'resources', 'limits', 'cpu'])),
      memoryLimit: text_(at([...T, 'resources', 'limits', 'memory'])),
      probe: kind,
      probePort: text_(asked.port),
      probePath: text_(asked.path),
      probeCommand: Array.isArray(asked.command) ? joinWords(asked.command.map(String)) : text_(asked.command),
      probePeriod: text_(probe.period),
      strategy: type === 'Recreate' || type === 'Canary' ? type : 'RollingUpdate',
      maxSurge: text_(at(['spec', 'strategy', 'maxSurge'])),
      maxUnavailable: text_(at(['spec', 'strategy', 'maxUnavailable'])),
      onFailure: oneOf(at(['spec', 'strategy', 'onFailure']), ['Rollback', 'Pause', 'Ignore']),
      progressDeadline: number(at(['spec', 'strategy', 'progressDeadlineSeconds'])),
      restartPolicy: oneOf(at([...T, 'restartPolicy']), ['Always', 'OnFailure', 'Never']),
      exclusive: at([...T, 'exclusive']) === true,
    },
  }
}

/** The text with what differs between the two forms. A text that cannot be read is given back as it is. */
export function writeForm(text: string, before: DeploymentForm, after: DeploymentForm): string {
  const { doc, value } = open(text)
  if (value === undefined) return text
  const differs = (...names: (keyof DeploymentForm)[]): boolean =>
    names.some((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]))
  const set = (path: Path, to: unknown): void => setValue(doc, path, to)

  if (differs('name')) doc.setIn(['metadata', 'name'], after.name)
  if (differs('namespace')) set(['metadata', 'namespace'], after.namespace)
  if (differs('labels')) set(['metadata', 'labels'], mapOf(after.labels))
  if (differs('placement', 'replicas', 'nodeReplicas')) {
    const byNode = after.placement === 'nodes'
    // One of both: the server refuses a Deployment that has two.
    set(['spec', 'replicas'], byNode ? undefined : (after.replicas ?? 1))
    if (byNode)
      doc.setIn(
        ['spec', 'nodeReplicas'],
        doc.createNode(Object.fromEntries(after.nodeReplicas.filter((one) => one.node).map((one) => [one.node, one.count ?? 1]))),
      )
    else set(['spec', 'nodeReplicas'], undefined)
  }
  if (differs('state')) set(['spec', 'state'], after.state === 'Stopped' ? 'Stopped' : undefined)
  if (differs('source', 'artifactName', 'artifactVersion', 'image')) {
    const isArtifact = after.source === 'artifact'
    const source = { name: after.artifactName, version: after.artifactVersion }
    const known = record(value.spec).template
    const other = record(record(known).artifact)
    set(
      [...T, 'artifact'],
      isArtifact && after.artifactName ? { ...pick(other, ['sha256']), ...source } : isArtifact ? other : undefined,
    )
    if (differs('source', 'image')) set([...T, 'image'], after.source === 'command' ? undefined : after.image)
    if (differs('source')) set([...T, 'runtime'], after.source === 'image' ? 'container' : 'process')
  }
  if (differs('command')) set([...T, 'command'], splitWords(after.command) ?? after.command)
  if (differs('nodeSelector')) set([...T, 'nodeSelector'], mapOf(after.nodeSelector))
  if (differs('env')) writeEnv(doc, after.env)
  if (differs('ports')) {
    const ports = after.ports
      .filter((one) => one.name)
      .map(({ name, port, protocol }) => ({ name, port: port ?? 0, protocol: protocol === 'tcp' ? '' : protocol }))
    setItems(doc, [...T, 'ports'], 'name', ['name', 'port', 'protocol'], ports)
  }
  if (differs('services')) {
    const services = after.services.filter((one) => one.name).map((one) => ({ ...one, port: numeric(one.port) }))
    setItems(doc, [...T, 'services'], 'name', ['name', 'port', 'version'], services)
  }
  if (differs('cpuRequest')) set([...T, 'resources', 'requests', 'cpu'], after.cpuRequest)
  if (differs('memoryRequest')) set([...T, 'resources', 'requests', 'memory'], after.memoryRequest)
  if (differs('cpuLimit')) set([...T, 'resources', 'limits', 'cpu'], after.cpuLimit)
  if (differs('memoryLimit')) set([...T, 'resources', 'limits', 'memory'], after.memoryLimit)
  if (differs('probe', 'probePort', 'probePath', 'probeCommand', 'probePeriod')) writeProbe(set, before, after)
  if (differs('strategy', 'maxSurge', 'maxUnavailable', 'onFailure', 'progressDeadline')) writeStrategy(set, doc, after, differs)
  if (differs('restartPolicy')) set([...T, 'restartPolicy'], after.restartPolicy)
  if (differs('exclusive')) set([...T, 'exclusive'], after.exclusive || undefined)
  return print(doc, text)
}

type Set_ = (path: Path, to: unknown) => void

function writeEnv(doc: Parameters<typeof setItems>[0], rows: readonly EnvRow[]): void {
  const items = rows
    .filter((row) => row.name)
    .map((row): EnvVar => (row.from ? { name: row.name, valueFrom: row.from } : { name: row.name, value: row.value }))
  setItems(doc, [...T, 'env'], 'name', ['name', 'value', 'valueFrom'], items as unknown as Record<string, unknown>[])
}

function writeProbe(set: Set_, before: DeploymentForm, after: DeploymentForm): void {
  for (const kind of ['http', 'tcp', 'exec'] as const) if (kind !== after.probe) set([...READY, kind], undefined)
  if (after.probe === 'none') {
    if (before.probe !== 'none') set(READY, undefined)
    return
  }
  if (after.probe === 'exec') set([...READY, 'exec', 'command'], splitWords(after.probeCommand) ?? after.probeCommand)
  else set([...READY, after.probe, 'port'], numeric(after.probePort))
  if (after.probe === 'http') set([...READY, 'http', 'path'], after.probePath)
  set([...READY, 'period'], after.probePeriod)
}

function writeStrategy(
  set: Set_,
  doc: Parameters<typeof setValue>[0],
  after: DeploymentForm,
  differs: (...names: (keyof DeploymentForm)[]) => boolean,
): void {
  const path = ['spec', 'strategy']
  if (typeof doc.getIn(path) === 'string') set(path, { type: doc.getIn(path) })
  if (differs('strategy')) set([...path, 'type'], after.strategy)
  if (differs('maxSurge')) set([...path, 'maxSurge'], numeric(after.maxSurge))
  if (differs('maxUnavailable')) set([...path, 'maxUnavailable'], numeric(after.maxUnavailable))
  if (differs('onFailure')) set([...path, 'onFailure'], after.onFailure)
  if (differs('progressDeadline')) set([...path, 'progressDeadlineSeconds'], after.progressDeadline)
}

/** The form's field that a path of the server's refusal is about, such as `spec.template.ports[0].port`. */
export function fieldOf(path: string): keyof DeploymentForm | undefined {
  const known = FIELDS.find(([start]) => path === start || path.startsWith(`${start}.`) || path.startsWith(`${start}[`))
  return known?.[1]
}

const FIELDS: readonly (readonly [string, keyof DeploymentForm])[] = [
  ['metadata.name', 'name'],
  ['metadata.namespace', 'namespace'],
  ['metadata.labels', 'labels'],
  ['spec.replicas', 'replicas'],
  ['spec.nodeReplicas', 'nodeReplicas'],
  ['spec.strategy.maxSurge', 'maxSurge'],
  ['spec.strategy.maxUnavailable', 'maxUnavailable'],
  ['spec.strategy.onFailure', 'onFailure'],
  ['spec.strategy.progressDeadlineSeconds', 'progressDeadline'],
  ['spec.strategy', 'strategy'],
  ['spec.template.artifact.version', 'artifactVersion'],
  ['spec.template.artifact', 'artifactName'],
  ['spec.template.image', 'image'],
  ['spec.template.command', 'command'],
  ['spec.template.nodeSelector', 'nodeSelector'],
  ['spec.template.env', 'env'],
  ['spec.template.ports', 'ports'],
  ['spec.template.services', 'services'],
  ['spec.template.resources.requests.cpu', 'cpuRequest'],
  ['spec.template.resources.requests.memory', 'memoryRequest'],
  ['spec.template.resources.limits.cpu', 'cpuLimit'],
  ['spec.template.resources.limits.memory', 'memoryLimit'],
  ['spec.template.probes.readiness.period', 'probePeriod'],
  ['spec.template.probes.readiness.http.path', 'probePath'],
  ['spec.template.probes.readiness.exec', 'probeCommand'],
  ['spec.template.probes.readiness', 'probePort'],
  ['spec.template.restartPolicy', 'restartPolicy'],
  ['spec.template.exclusive', 'exclusive'],
]

function isRecord(value: unknown): value is Record<string | number, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function record(value: unknown): Record<string, unknown> {
  return isRecord(value) ? value : {}
}

function text_(value: unknown): string {
  return value === undefined || value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function number(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined
}

/** What is written as a number where it is one: ports and amounts may be names and shares. */
function numeric(text: string): string | number {
  return /^\d+$/.test(text) ? Number(text) : text
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[]): T | '' {
  return allowed.find((one) => one === value) ?? ''
}

function mapOf(pairs: readonly Pair[]): Record<string, string> {
  return Object.fromEntries(pairs.filter((pair) => pair.name).map((pair) => [pair.name, pair.value]))
}

function pick(from: Record<string, unknown>, names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(names.filter((name) => name in from).map((name) => [name, from[name]]))
}

function cut(text: string): [string, string] {
  const at = text.lastIndexOf(':')
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)]
}
