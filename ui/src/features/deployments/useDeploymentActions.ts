/** The buttons of a Deployment: allowed by rights, possible as it stands, done by one write each. */

import { computed, ref, type ComputedRef, type Ref } from 'vue'
import { useI18n } from 'vue-i18n'
import { api, request } from '@/api/client'
import { kinds, pathOf } from '@/api/kinds'
import { usePermission } from '@/app/permissions'
import { confirm, useAct } from '@/components/act'
import { actionsOf, scaleBlocked, scalePatch, undoBlocked, type ActionName } from './actions'
import type { RevisionRow } from './revisions'
import type { Deployment } from './types'

export interface DeploymentActions {
  /** By action: why it cannot be pressed; empty when it can. */
  blocked: ComputedRef<Record<ActionName | 'scale' | 'undo' | 'edit' | 'remove', string>>
  busy: Ref<string>
  press: (name: ActionName) => Promise<boolean>
  scale: (replicas: number | Record<string, number>) => Promise<boolean>
  undo: (to: RevisionRow) => Promise<boolean>
  remove: () => Promise<boolean>
}

export function useDeploymentActions(deployment: Ref<Deployment | undefined>, target: Ref<RevisionRow | undefined> = ref()): DeploymentActions {
  const { t } = useI18n()
  const { busy, act } = useAct()
  const namespace = (): string => deployment.value?.metadata.namespace ?? ''
  const name = (): string => deployment.value?.metadata.name ?? ''
  const mayPatch = usePermission('patch', kinds.Deployment, namespace, name)
  const mayDelete = usePermission('delete', kinds.Deployment, namespace, name)

  const blocked = computed(() => {
    const all: Record<ActionName | 'scale' | 'undo' | 'edit' | 'remove', string> = { start: '', stop: '', restart: '', pause: '', resume: '', scale: '', undo: '', edit: '', remove: '' }
    const live = deployment.value
    if (!live) return all
    const say = (key: string | undefined): string => mayPatch.value.reason || (key ? t(key) : '')
    const can = actionsOf(live, new Date())
    for (const action of Object.keys(can) as ActionName[]) all[action] = say(can[action].blocked)
    all.scale = say(scaleBlocked(live))
    all.undo = say(undoBlocked(live, target.value !== undefined))
    all.edit = say(scaleBlocked(live))
    all.remove = mayDelete.value.reason || (live.metadata.deletionTimestamp ? t('deployments.blocked.deleting') : '')
    return all
  })

  async function press(action: ActionName): Promise<boolean> {
    const live = deployment.value
    if (!live) return false
    const { patch } = actionsOf(live, new Date())[action]
    if (action === 'stop' && !(await confirm(t('deployments.stop.title', { name: name() }), t('deployments.stop.text', { n: live.status?.replicas ?? 0 }), t('deployments.action.stop')))) return false
    return act(action, () => api.patch(kinds.Deployment, live, patch), t(`deployments.done.${action}`, { name: name() }))
  }

  async function scale(replicas: number | Record<string, number>): Promise<boolean> {
    const live = deployment.value
    return live ? act('scale', () => api.patch(kinds.Deployment, live, scalePatch(live, replicas)), t('deployments.done.scale', { name: name() })) : false
  }

  async function undo(to: RevisionRow): Promise<boolean> {
    const live = deployment.value
    if (!live) return false
    if (to.state === 'failed' && !(await confirm(t('deployments.undoFailed.title', { n: to.number }), t('deployments.undoFailed.text'), t('deployments.action.undoTo', { n: to.number })))) return false
    // The whole template is replaced, so that what the newer one added goes; of this object and of no successor of its name.
    const operations = [
      { op: 'test', path: '/metadata/uid', value: live.metadata.uid },
      { op: 'replace', path: '/spec/template', value: to.template },
    ]
    const path = pathOf(kinds.Deployment, namespace(), name())
    return act('undo', () => request('PATCH', path, { body: operations, contentType: 'application/json-patch+json', query: { fieldManager: 'plum-ui' } }), t('deployments.done.undo', { name: name(), n: to.number }))
  }

  async function remove(): Promise<boolean> {
    const live = deployment.value
    if (!live || !(await confirm(t('deployments.remove.title', { name: name() }), t('deployments.remove.text', { n: live.status?.replicas ?? 0 }), t('common.delete')))) return false
    return act('remove', () => api.delete(kinds.Deployment, namespace(), name()), t('deployments.done.remove', { name: name() }))
  }

  return { blocked, busy, press, scale, undo, remove }
}
