/** Objects for tests of the pages of applications. */

import type { Instance, InstanceStatus, Template } from '../instances/types'
import type { Deployment, DeploymentSpec, DeploymentStatus, Revision } from './types'

export function metadata(name: string, more: object = {}): Deployment['metadata'] {
  return {
    name,
    namespace: 'default',
    uid: `uid-${name}`,
    resourceVersion: '1',
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...more,
  }
}

export function deployment(spec: Partial<DeploymentSpec> = {}, status: DeploymentStatus = {}, more: object = {}): Deployment {
  return {
    apiVersion: 'plum.dev/v1',
    kind: 'Deployment',
    metadata: metadata('web', more),
    spec: { template: {}, ...spec },
    status: { observedGeneration: 1, revisionHash: 'new', ...status },
  }
}

export function instance(
  name: string,
  nodeName: string,
  status: InstanceStatus = { phase: 'Running', ready: true },
  more: object = {},
): Instance {
  return {
    apiVersion: 'plum.dev/v1',
    kind: 'Instance',
    metadata: metadata(name, { labels: { 'plum.dev/deployment': 'web', 'plum.dev/revision': 'new' }, ...more }),
    spec: { nodeName, template: {} },
    status,
  }
}

export function revision(number: number, hash: string, template: Template, status: Revision['status'] = {}): Revision {
  return {
    apiVersion: 'plum.dev/v1',
    kind: 'Revision',
    metadata: metadata(`web-${hash}`),
    spec: { target: { kind: 'Deployment', name: 'web' }, number, hash, template },
    status,
  }
}

export function progressing(reason: string, status: 'True' | 'False' | 'Unknown' = 'True', message = ''): DeploymentStatus {
  return { conditions: [{ type: 'Progressing', status, reason, message }] }
}
