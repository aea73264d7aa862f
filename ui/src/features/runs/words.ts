/** Refusals in the user's language. */
import { lookOf } from '@/states'
import type { Control, Refusal } from './model/controls'

export function refusalWords(t: (key: string, named: Record<string, unknown>) => string, control: Control, refusal: Refusal | null): string {
  if (!refusal) return ''
  const word = (phase: string): string => {
    const { label } = lookOf(refusal.about === 'run' ? 'WorkflowRun' : 'RunNode', phase)
    return label ? t(label, {}) : phase
  }
  return t(refusal.about === 'run' ? 'runs.refusedRun' : 'runs.refusedNode', { control: t(`runs.control.${control}`, {}), phase: word(refusal.phase), allowed: refusal.allowed.map(word).join(t('runs.listComma', {})) })
}
