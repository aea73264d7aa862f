/**
 * The line that makes a machine a node: a token that is good once, the address, and what the machine knows the controller by. Pure but
 * for the digest, which the browser makes.
 */

export interface JoinToken {
  apiVersion: 'plum.dev/v1'
  kind: 'Token'
  metadata: { name: string }
  spec: { user: string; groups: string[]; join: { node?: string }; expiresAt: string; description: string }
}

/** What the API takes for the name of a node; one with a certificate has at most 52 characters. */
export function isNodeName(name: string): boolean {
  return name.length <= 52 && /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/.test(name)
}

const LETTERS = '0123456789abcdef'

/** The Token to create. `bytes` are four of chance, for its name. */
export function joinToken(node: string, seconds: number, now: Date, bytes: Uint8Array): JoinToken {
  const name = `join-${[...bytes].map((byte) => `${LETTERS[byte >> 4]}${LETTERS[byte & 15]}`).join('')}`
  return {
    apiVersion: 'plum.dev/v1',
    kind: 'Token',
    metadata: { name },
    spec: {
      user: `system:bootstrap:${name}`,
      groups: ['system:bootstrappers'],
      join: node ? { node } : {},
      expiresAt: new Date(now.getTime() + seconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z'),
      description: 'to join once',
    },
  }
}

/** The bytes of a certificate in PEM. */
export function bytesOfPem(pem: string): Uint8Array<ArrayBuffer> {
  const body = /-----BEGIN CERTIFICATE-----([\s\S]+?)-----END CERTIFICATE-----/.exec(pem)?.[1] ?? ''
  const binary = atob(body.replace(/\s+/g, ''))
  return Uint8Array.from(binary, (character) => character.charCodeAt(0))
}

export function hex(bytes: ArrayBuffer): string {
  return [...new Uint8Array(bytes)].map((byte) => `${LETTERS[byte >> 4]}${LETTERS[byte & 15]}`).join('')
}

/** With the digest of the authority behind a dot, when there is one: the machine gives its token to nobody else. */
export function joinLine(node: string, controller: string, token: string, digest: string): string {
  const named = node ? `--node ${node} ` : ''
  return `plum agent ${named}--controller ${controller} --join ${token}${digest ? `.${digest}` : ''}`
}

/** Where the machine will find the controller: as the browser found it, if that is over TLS and not only here. */
export function controllerAddress(origin: string, told: string): string {
  const url = new URL(origin)
  return url.protocol === 'https:' && !isLoopback(url.hostname) ? origin : told
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || host === '::1' || /^127\./.test(host)
}

/** For a trial on this machine: a further agent that needs no token, because loopback is open. */
export function localLine(node: string, origin: string): string {
  const name = node || 'node-2'
  return `plum agent --node ${name} --controller ${origin} --data-dir .plum/${name}`
}
