import { describe, expect, it } from 'vitest'
import { ApiError, strictCauses } from './errors'

describe('causes', () => {
  it('are found in the message for fields that a kind has not', () => {
    const message = 'Workflow in version "v1" cannot be handled as a Workflow: strict decoding error: unknown field "spec.params[0].min", duplicate field "spec.nodes"'
    expect(new ApiError(400, message).causes.map((cause) => [cause.field, cause.message])).toEqual([
      ['spec.params[0].min', 'unknown field "spec.params[0].min"'],
      ['spec.nodes', 'duplicate field "spec.nodes"'],
    ])
    expect(strictCauses('there is no field "x" here')).toEqual([])
  })
})
