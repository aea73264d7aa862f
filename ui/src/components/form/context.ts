/** What all fields of one form share. */
import { inject, type ComputedRef, type InjectionKey } from 'vue'
import type { KindRef } from '@/api/kinds'
import type { Json } from '@/components/yaml/json'
import type { KindSchema, Path } from '@/components/yaml/schema'

export interface FormContext {
  schema: ComputedRef<KindSchema>
  kind: ComputedRef<KindRef>
  /** Where names are looked up. */
  namespace: ComputedRef<string | undefined>
  /** Fields that cannot be changed, as `metadata.name`. */
  fixed: ComputedRef<ReadonlySet<string>>
  readonly: ComputedRef<boolean>
  /** What is wrong, by path: `spec.ports.0.name`. */
  problems: ComputedRef<ReadonlyMap<string, string>>
  /** `undefined` takes the value away. */
  set: (path: Path, value: Json | undefined) => void
}

export const FORM: InjectionKey<FormContext> = Symbol('form')

export function useForm(): FormContext {
  const found = inject(FORM)
  if (!found) throw new Error('a field stands outside of a form')
  return found
}

/** Problems at a path or below it. */
export function problemsBelow(problems: ReadonlyMap<string, string>, path: Path): number {
  const own = path.join('.')
  let count = 0
  for (const key of problems.keys()) if (key === own || key.startsWith(`${own}.`)) count += 1
  return count
}
