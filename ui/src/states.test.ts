import { describe, expect, it } from 'vitest'
import type { AnyObj, Condition } from './api/objects'
import en from './components/locales/en'
import zh from './components/locales/zh'
import { allStates, conditionTone, lookOf, stateOf } from './states'

function object(kind: string, spec: object, status?: object, metadata: object = {}): AnyObj {
  return { apiVersion: 'plum.dev/v1', kind, metadata: { name: 'x', uid: 'x', resourceVersion: '1', creationTimestamp: '', generation: 1, ...metadata }, spec: spec as never, status: status as never }
}
const condition = (type: string, status: Condition['status'], reason = ''): Condition => ({ type, status, reason, message: '' })
const done = { observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 2, conditions: [condition('Available', 'True'), condition('Progressing', 'True', 'RolloutComplete')] }

describe('states', () => {
  it('have a word in each language', () => {
    for (const state of allStates()) {
      expect(en.state, state).toHaveProperty(state)
      expect(zh.state, state).toHaveProperty(state)
    }
  })

  it('of a newer controller look unknown and keep their word', () => {
    expect(lookOf('Instance', 'Hibernating')).toEqual({ tone: 'unknown', icon: 'question', label: '' })
  })

  it.each([
    ['available', { replicas: 2 }, done, 'Available'],
    ['not seen yet', { replicas: 2 }, { ...done, observedGeneration: 0 }, 'Progressing'],
    ['rolling out', { replicas: 2 }, { ...done, updatedReplicas: 1, conditions: [condition('Progressing', 'True', 'RollingOut')] }, 'Progressing'],
    ['one copy is missing', { replicas: 2 }, { ...done, availableReplicas: 1 }, 'Degraded'],
    ['all copies are missing', { replicas: 2 }, { ...done, availableReplicas: 0 }, 'Failed'],
    ['failed, the old still there', { replicas: 2 }, { ...done, conditions: [condition('Progressing', 'False', 'ProgressDeadlineExceeded')] }, 'Differs'],
    ['failed', { replicas: 2 }, { ...done, availableReplicas: 0, conditions: [condition('Progressing', 'False', 'ProgressDeadlineExceeded')] }, 'Failed'],
    ['stopped', { replicas: 2, state: 'Stopped' }, { observedGeneration: 1 }, 'Stopped'],
    ['stopping', { replicas: 2, state: 'Stopped' }, done, 'Stopping'],
    ['paused', { replicas: 2, paused: true }, done, 'Paused'],
    ['zero wanted', { replicas: 0 }, { observedGeneration: 1, conditions: [] }, 'Available'],
  ])('of a Deployment: %s', (_name, spec, status, expected) => {
    expect(stateOf(object('Deployment', spec, status)).state).toBe(expected)
  })

  it.each([
    [{}, [condition('Ready', 'True')], 'Ready'],
    [{}, [condition('Ready', 'Unknown')], 'Silent'],
    [{}, [condition('Ready', 'False')], 'NotReady'],
    [{ unschedulable: true }, [condition('Ready', 'True')], 'Cordoned'],
    [{}, [condition('Ready', 'True'), condition('DiskPressure', 'True')], 'Degraded'],
    [{}, [], 'Pending'],
  ])('of a Node: %j %j', (spec, conditions, expected) => {
    expect(stateOf(object('Node', spec, { conditions })).state).toBe(expected)
  })

  it('of an instance that runs and is not ready is not well', () => {
    const found = stateOf(object('Instance', {}, { phase: 'Running', ready: false, conditions: [condition('Ready', 'False', 'ProbeFailed')] }))

    expect([found.look.tone, found.reason]).toEqual(['bad', 'ProbeFailed'])
  })

  it('of a kind of a user follow from its conditions', () => {
    expect(stateOf(object('Pump', {}, { conditions: [condition('Ready', 'False', 'NoPower')] })).reason).toBe('NoPower')
    expect(stateOf(object('Pump', {})).state).toBe('Present')
    expect(stateOf(object('Pump', {}, undefined, { deletionTimestamp: 'now' })).state).toBe('Deleting')
  })

  it('tell good news from bad in conditions of both senses', () => {
    expect(conditionTone(condition('DiskPressure', 'False'))).toBe('ok')
    expect(conditionTone(condition('DiskPressure', 'True'))).toBe('bad')
    expect(conditionTone(condition('Ready', 'Unknown'))).toBe('unknown')
  })
})
