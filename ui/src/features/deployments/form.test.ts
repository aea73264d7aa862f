import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fieldOf, firstText, readForm, writeForm } from './form'
import type { DeploymentForm } from './form'

const TEXT = `# what the shop needs
apiVersion: plum.dev/v1
kind: Deployment
metadata:
  name: shop # its name
  labels: {team: sales}
spec:
  replicas: 2
  strategy: {type: RollingUpdate, maxSurge: 1, maxUnavailable: 0}
  template:
    artifact: {name: shop, version: 1.0.0}
    # how it is called
    command: ["./start.sh", "--port", "8080"]
    env:
    - name: MODE # of work
      value: demo
    - name: TOKEN
      valueFrom: {secretKeyRef: {name: shop, key: token}}
    ports:
    - {name: http, port: 8080, protocol: http, hostPort: 80}
    probes:
      readiness: {http: {port: http, path: /up}, period: 2s, failureThreshold: 5}
    topologySpread: [{topologyKey: zone}]
`

function read(text: string): DeploymentForm {
  const { form } = readForm(text)
  if (!form) throw new Error('cannot be read')
  return form
}

function edit(text: string, change: Partial<DeploymentForm>): string {
  const before = read(text)
  return writeForm(text, before, { ...before, ...change })
}

describe('reading', () => {
  it('finds what the form shows', () => {
    expect(read(TEXT)).toMatchObject({
      name: 'shop',
      source: 'artifact',
      artifactName: 'shop',
      artifactVersion: '1.0.0',
      command: './start.sh --port 8080',
      placement: 'replicas',
      replicas: 2,
      maxSurge: '1',
      probe: 'http',
      probePort: 'http',
      probePath: '/up',
      probePeriod: '2s',
      labels: [{ name: 'team', value: 'sales' }],
    })
    expect(read(TEXT).env[1]?.from).toEqual({ secretKeyRef: { name: 'shop', key: 'token' } })
  })

  it('understands the short forms', () => {
    const text = 'spec: {strategy: Recreate, template: {artifact: "shop:2.1", command: "./a b", env: {A: 1}}}'
    expect(read(text)).toMatchObject({
      strategy: 'Recreate',
      artifactName: 'shop',
      artifactVersion: '2.1',
      command: './a b',
      env: [{ name: 'A', value: '1' }],
    })
  })

  it('tells where a text cannot be read, and leaves it alone', () => {
    const broken = 'metadata:\n  name: [a\nspec: {}\n'
    const { form, problems } = readForm(broken)
    expect(form).toBeUndefined()
    expect(problems[0]?.line).toBeGreaterThan(0)
    expect(writeForm(broken, read(TEXT), { ...read(TEXT), name: 'x' })).toBe(broken)
    expect(readForm('just text').problems[0]?.message).toContain('not an object')
  })
})

describe('writing', () => {
  it('changes the line that was changed, and keeps comments', () => {
    expect(edit(TEXT, { name: 'store' })).toBe(TEXT.replace('name: shop # its', 'name: store # its'))
    expect(edit(TEXT, { replicas: 5 })).toBe(TEXT.replace('replicas: 2', 'replicas: 5'))
    expect(edit(TEXT, { artifactVersion: '1.1.0' })).toContain('version: 1.1.0')
  })

  it('keeps fields of list items that the form does not know', () => {
    const text = edit(TEXT, { ports: [{ name: 'http', port: 9090, protocol: 'http' }] })
    expect(text).toContain('hostPort: 80')
    expect(text).toContain('port: 9090')
    const renamed = edit(TEXT, { env: [{ name: 'KIND', value: 'demo' }, read(TEXT).env[1]!] })
    expect(renamed).toContain('- name: KIND # of work')
    expect(renamed).toContain('secretKeyRef: {name: shop, key: token}')
  })

  it('has replicas or nodeReplicas, never both', () => {
    const byNode = edit(TEXT, {
      placement: 'nodes',
      nodeReplicas: [
        { node: 'node-1', count: 2 },
        { node: '', count: 3 },
      ],
    })
    expect(readForm(byNode).form).toMatchObject({
      placement: 'nodes',
      replicas: undefined,
      nodeReplicas: [{ node: 'node-1', count: 2 }],
    })
    expect(read(edit(byNode, { placement: 'replicas', replicas: 3 }))).toMatchObject({
      placement: 'replicas',
      replicas: 3,
      nodeReplicas: [],
    })
  })

  it('changes from a package to an image and back', () => {
    const image = edit(TEXT, { source: 'image', image: 'shop:2' })
    expect(read(image)).toMatchObject({ source: 'image', image: 'shop:2', artifactName: '' })
    expect(image).toContain('runtime: container')
    expect(read(edit(image, { source: 'command', image: '' }))).toMatchObject({ source: 'command', image: '' })
  })

  it('takes away what was emptied, with what became empty around it', () => {
    const text = edit(edit(TEXT, { cpuRequest: '100m', memoryLimit: '64Mi' }), { cpuRequest: '' })
    expect(text).toContain('limits:\n        memory: 64Mi')
    expect(text).not.toContain('requests')
    expect(edit(text, { memoryLimit: '' })).toBe(TEXT)
    expect(edit(TEXT, { probe: 'none' })).not.toContain('probes')
  })

  it('writes numbers as numbers and names as names', () => {
    expect(edit(TEXT, { maxSurge: '25%' })).toContain('maxSurge: 25%')
    expect(edit(TEXT, { probePort: '8080' })).toContain('port: 8080, path: /up')
    expect(edit(TEXT, { probe: 'exec', probeCommand: 'test -f ready' })).toContain('failureThreshold: 5')
  })

  it('begins with a manifest that a form can fill', () => {
    const text = edit(firstText('default'), {
      name: 'web',
      source: 'artifact',
      artifactName: 'demo',
      artifactVersion: '1',
      ports: [{ name: 'http', port: 80, protocol: 'http' }],
    })
    expect(text).toBe(`apiVersion: plum.dev/v1
kind: Deployment
metadata:
  name: "web"
  namespace: default
spec:
  replicas: 1
  template:
    runtime: process
    artifact:
      name: demo
      version: "1"
    ports:
    - name: http
      port: 80
      protocol: http
`)
  })

  it('what was written is what is read', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/)
    const pairs = fc.uniqueArray(fc.record({ name: word, value: fc.string() }), { selector: (one) => one.name, maxLength: 4 })
    const changes = fc.record(
      {
        name: word,
        labels: pairs,
        env: pairs,
        replicas: fc.nat(50),
        command: fc.array(word, { maxLength: 3 }).map((words) => words.join(' ')),
        ports: fc.uniqueArray(
          fc.record({ name: word, port: fc.integer({ min: 1, max: 65535 }), protocol: fc.constantFrom('tcp', 'http') }),
          { selector: (one) => one.name, maxLength: 3 },
        ),
        services: fc.uniqueArray(fc.record({ name: word, port: word, version: fc.constantFrom('', 'v1') }), {
          selector: (one) => one.name,
          maxLength: 3,
        }),
        memoryLimit: fc.constantFrom('', '64Mi'),
        onFailure: fc.constantFrom('' as const, 'Rollback' as const),
        exclusive: fc.boolean(),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(fc.array(changes, { minLength: 1, maxLength: 3 }), (steps) => {
        let text = TEXT
        for (const step of steps) {
          const wanted = { ...read(text), ...step }
          text = edit(text, step)
          expect(read(text)).toEqual(wanted)
          expect(text).toContain('# what the shop needs')
          expect(text).toContain('topologySpread: [{topologyKey: zone}]')
        }
      }),
      { numRuns: 60 },
    )
  })
})

describe('refusals', () => {
  it.each([
    ['spec.template.ports[0].port', 'ports'],
    ['spec.template.artifact.version', 'artifactVersion'],
    ['spec.strategy.maxUnavailable', 'maxUnavailable'],
    ['spec.template.probes.readiness.http.port', 'probePort'],
    ['metadata.name', 'name'],
    ['spec.template.topologySpread[0]', undefined],
  ])('%s is shown at %s', (path, field) => {
    expect(fieldOf(path)).toBe(field)
  })
})

describe('style', () => {
  it('stays as it was found', () => {
    const text = 'spec:\n  template:\n    ports:\n      - { name: http, port: 80 }\n    labels: { a: b }\nmetadata:\n  name: a\n'
    expect(edit(text, { name: 'b' })).toBe(text.replace('name: a', 'name: b'))
  })
})
