/** What the signed-in user may do, from the rules that the API tells (SelfSubjectRulesReview), so that buttons know before they are pressed. */

import { computed, reactive, toValue, type ComputedRef, type MaybeRefOrGetter } from 'vue'
import { useI18n } from 'vue-i18n'
import { request } from '@/api/client'
import type { KindRef } from '@/api/kinds'

export interface Rule {
  verbs: string[]
  apiGroups?: string[]
  resources?: string[]
  resourceNames?: string[]
}

interface Review {
  status?: { resourceRules?: Rule[]; incomplete?: boolean }
}

/** Rules by namespace; undefined while they are asked for. */
const rules = reactive(new Map<string, Rule[] | undefined>())
/** Milliseconds after which rules are asked for again. */
const FRESH = 60_000
const asked = new Map<string, number>()

function ask(namespace: string): void {
  const before = asked.get(namespace)
  if (before !== undefined && Date.now() - before < FRESH) return
  asked.set(namespace, Date.now())
  request<Review>('POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {
    body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectRulesReview', spec: { namespace: namespace || 'default' } },
  })
    .then((review) => {
      // Incomplete rules cannot forbid anything: the API decides then.
      rules.set(namespace, review.status?.incomplete ? undefined : (review.status?.resourceRules ?? []))
    })
    .catch(() => asked.delete(namespace))
}

export function forgetPermissions(): void {
  rules.clear()
  asked.clear()
}

const has = (values: string[] | undefined, wanted: string): boolean => values?.includes('*') === true || values?.includes(wanted) === true

/** Whether rules allow something. Pure. */
export function allows(given: readonly Rule[], verb: string, group: string, resource: string, name?: string): boolean {
  return given.some(
    (rule) =>
      has(rule.verbs, verb) && has(rule.apiGroups, group) &&
      (has(rule.resources, resource) || (resource.includes('/') && has(rule.resources, `*/${resource.split('/')[1]}`))) &&
      (!rule.resourceNames?.length || (name !== undefined && rule.resourceNames.includes(name))),
  )
}

/** What is not known yet is allowed: the API has the last word. `resource` may be a part, such as `instances/exec`. */
export function may(verb: string, kind: KindRef, namespace = '', name?: string, subresource?: string): boolean {
  ask(namespace)
  const given = rules.get(namespace)
  return given === undefined || allows(given, verb, kind.group, subresource ? `${kind.plural}/${subresource}` : kind.plural, name)
}

export interface Permission {
  allowed: boolean
  /** Why not, in the user's language; empty when allowed. */
  reason: string
}

/** For a button: `<ActionButton :disabled-reason="mayDelete.reason">`. */
export function usePermission(
  verb: MaybeRefOrGetter<string>, kind: MaybeRefOrGetter<KindRef>, namespace: MaybeRefOrGetter<string | undefined> = '',
  name?: MaybeRefOrGetter<string | undefined>, subresource?: string,
): ComputedRef<Permission> {
  const { t } = useI18n()
  return computed(() => {
    const of = toValue(kind)
    const allowed = may(toValue(verb), of, toValue(namespace) ?? '', toValue(name), subresource)
    return { allowed, reason: allowed ? '' : t('app.forbidden', { verb: toValue(verb), resource: subresource ? `${of.plural}/${subresource}` : of.plural }) }
  })
}
