/** Refusals in the user's language. */
import type { Control, Refusal } from './model/controls'

export function refusalWords(t: (key: string, named: Record<string, unknown>) => string, control: Control, refusal: Refusal | null): string {
  if (!refusal) return ''
  return t(refusal.about === 'run' ? 'runs.refusedRun' : 'runs.refusedNode', { control: t(`runs.control.${control}`, {}), phase: refusal.phase, allowed: refusal.allowed.join(', ') })
}
