/** The built-in kinds as types, from the API's description. Specs have their defaults filled in: the API never stores an object without them. */

import type { components } from './generated/plum'
import type { Condition, Metadata } from './objects'

type Schemas = components['schemas']
type Kind<Name extends keyof Schemas> = Schemas[Name]
type Field<Of, Name extends string> = Of extends { [K in Name]?: infer Value } ? NonNullable<Value> : never

/** A kind with the metadata that every stored object has. */
export type Typed<Name extends string> = `dev.plum.v1.${Name}` extends keyof Schemas
  ? {
      apiVersion: string
      kind: string
      metadata: Metadata
      spec: Field<Kind<`dev.plum.v1.${Name}`>, 'spec'>
      status?: Omit<Field<Kind<`dev.plum.v1.${Name}`>, 'status'>, 'conditions'> & { conditions?: Condition[] }
    }
  : never

export type Deployment = Typed<'Deployment'>
export type Instance = Typed<'Instance'>
export type Artifact = Typed<'Artifact'>
export type Service = Typed<'Service'>
export type Endpoint = Typed<'Endpoint'>
export type Node = Typed<'Node'>
export type Worker = Typed<'Worker'>
export type TaskDefinition = Typed<'TaskDefinition'>
export type TaskRun = Typed<'TaskRun'>
export type Workflow = Typed<'Workflow'>
export type WorkflowRun = Typed<'WorkflowRun'>
export type Trigger = Typed<'Trigger'>
export type Resource = Typed<'Resource'>
export type Operation = Typed<'Operation'>
export type KV = Typed<'KV'>
export type Sync = Typed<'Sync'>
export type Revision = Typed<'Revision'>
export type Token = Typed<'Token'>

/** The `status.phase` of a kind: what the state table must name. */
export type PhaseOf<Of extends { status?: { phase?: unknown } }> = Extract<NonNullable<NonNullable<Of['status']>['phase']>, string>

/** core/v1 Event. */
export interface Event {
  apiVersion: string
  kind: string
  metadata: Metadata
  spec: undefined
  status?: undefined
  involvedObject: { apiVersion?: string; kind: string; namespace?: string; name: string; uid?: string; fieldPath?: string }
  reason?: string
  message?: string
  type?: 'Normal' | 'Warning'
  count?: number
  firstTimestamp?: string
  lastTimestamp?: string
  eventTime?: string
  source?: { component?: string; host?: string }
  reportingComponent?: string
}
