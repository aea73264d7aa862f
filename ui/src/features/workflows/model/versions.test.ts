import { describe, expect, it } from 'vitest'
import { definitionOf, restored, versionsOf, type VersionObject } from './versions'

function revision(number: number, owner: string, definition: Record<string, unknown> = {}): VersionObject {
  const metadata = { name: `w-${number}`, creationTimestamp: '2026-01-01T00:00:00Z', ownerReferences: [{ uid: owner }] }
  return { apiVersion: 'plum.dev/v1', kind: 'Revision', metadata, spec: { number, definition } } as unknown as VersionObject
}

describe('versions of a workflow', () => {
  it('come newest first, and only those of the workflow that lives', () => {
    expect(versionsOf([revision(2, 'u'), revision(10, 'u'), revision(11, 'former')], 'u').map((one) => one.number)).toEqual([10, 2])
  })

  it('are compared by what a run does', () => {
    expect(definitionOf({ nodes: [1], state: 'Draft', owner: 'a' })).toEqual({ nodes: [1] })
  })

  it('bring back the definition, not the state and the keeping', () => {
    const then = { nodes: [1], params: [2], state: 'Draft', keepRuns: 5 }
    expect(restored(then, { nodes: [3], state: 'Active', timeout: '1m' })).toEqual({ nodes: [1], params: [2], state: 'Active' })
  })
})
