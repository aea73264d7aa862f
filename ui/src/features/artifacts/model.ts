/** Packages by application, their versions in order, and who uses them. Pure. */

import type { Deployment } from '../deployments/types'
import { deploymentOf } from '../instances/model'
import type { Instance, Template } from '../instances/types'
import type { Artifact } from './types'

export interface ArtifactRow {
  key: string
  artifact: Artifact
  /** Deployments whose spec names it. */
  deployments: string[]
  /** Instances that run it, or will. */
  instances: number
  /** No version of the same application is newer. */
  newest: boolean
}

const named = (namespace: string | undefined, template: Template): string => {
  const { name = '', version = '' } = template.artifact ?? {}
  return `${namespace ?? ''}/${name}:${version}`
}

/** Newest version first within an application. */
export function artifactRows(
  artifacts: readonly Artifact[],
  deployments: readonly Deployment[],
  instances: readonly Instance[],
): ArtifactRow[] {
  const byDeployment = new Map<string, Set<string>>()
  const byInstance = new Map<string, number>()
  for (const one of deployments) add(byDeployment, named(one.metadata.namespace, one.spec.template), one.metadata.name)
  for (const one of instances) {
    const key = named(one.metadata.namespace, one.spec.template)
    byInstance.set(key, (byInstance.get(key) ?? 0) + 1)
    const owner = deploymentOf(one)
    if (owner) add(byDeployment, key, owner)
  }
  const newest = new Map<string, string>()
  for (const { metadata, spec } of artifacts) {
    const app = `${metadata.namespace ?? ''}/${spec.name}`
    const known = newest.get(app)
    if (known === undefined || compareVersions(spec.version, known) > 0) newest.set(app, spec.version)
  }
  return artifacts
    .map((artifact): ArtifactRow => {
      const { metadata, spec } = artifact
      const app = `${metadata.namespace ?? ''}/${spec.name}`
      const key = `${app}:${spec.version}`
      return {
        key: `${metadata.namespace ?? ''}/${metadata.name}`,
        artifact,
        deployments: [...(byDeployment.get(key) ?? [])].sort(),
        instances: byInstance.get(key) ?? 0,
        newest: newest.get(app) === spec.version,
      }
    })
    .sort((left, right) => {
      const [one, other] = [left.artifact, right.artifact]
      return (
        one.spec.name.localeCompare(other.spec.name) ||
        (one.metadata.namespace ?? '').localeCompare(other.metadata.namespace ?? '') ||
        compareVersions(other.spec.version, one.spec.version)
      )
    })
}

function add(groups: Map<string, Set<string>>, key: string, name: string): void {
  const group = groups.get(key)
  if (group) group.add(name)
  else groups.set(key, new Set([name]))
}

/** 1.10.0 after 1.9.1, and a release after its release candidates. */
export function compareVersions(left: string, right: string): number {
  const [one, other] = [partsOf(left), partsOf(right)]
  for (let at = 0; at < Math.max(one.release.length, other.release.length); at += 1) {
    const order = comparePart(one.release[at] ?? '0', other.release[at] ?? '0')
    if (order !== 0) return order
  }
  if (one.pre === other.pre) return left === right ? 0 : left < right ? -1 : 1
  if (one.pre === '') return 1
  if (other.pre === '') return -1
  return comparePre(one.pre, other.pre)
}

function partsOf(version: string): { release: string[]; pre: string } {
  const [core = '', ...pre] = (version.split('+')[0] ?? '').split('-')
  return { release: core.replace(/^v(?=\d)/, '').split('.'), pre: pre.join('-') }
}

function comparePart(left: string, right: string): number {
  const [one, other] = [/^\d+$/.test(left), /^\d+$/.test(right)]
  if (one && other) return Number(left) - Number(right)
  if (one !== other) return one ? 1 : -1
  return left < right ? -1 : left > right ? 1 : 0
}

function comparePre(left: string, right: string): number {
  return left.localeCompare(right, 'en', { numeric: true })
}
