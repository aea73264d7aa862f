/** What the controller says about itself. */

import type { AnyObj } from '@/api/objects'
import type { KindRef } from '@/api/kinds'

/** Not a kind, but judged like one: `list` on `settings` in `plum.dev`. */
export const SETTINGS: KindRef = { group: 'plum.dev', version: 'v1', kind: 'Setting', plural: 'settings', namespaced: false }

export interface SettingItem {
  name: string
  otherNames: string[]
  value: string | number | boolean
  default: string | number | boolean
  source: 'default' | 'environment' | 'flag or .env'
  description: string
}

export interface Check {
  name: string
  ok: boolean
  message: string
}

export interface Version {
  plumVersion: string
  gitVersion: string
  platform: string
  compiler: string
}

export interface StoreReport {
  engine: string
  revision: number
  compacted: number
  objects: Record<string, number>
  bytes: number
}

export type SettingRow = AnyObj & { setting: SettingItem }

export function rowOf(setting: SettingItem): SettingRow {
  return {
    apiVersion: 'plum.dev/v1', kind: 'Setting', spec: undefined, setting,
    metadata: { name: setting.name, uid: setting.name, resourceVersion: '0', creationTimestamp: '' },
  }
}

/** Value as text; whole numbers without a decimal point. */
export function shown(value: SettingItem['value']): string {
  return value === '' ? '–' : String(value)
}

/** `12.3 MiB` */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let power = 0
  let rest = count
  while (rest >= 1024 && power < units.length - 1) {
    rest /= 1024
    power += 1
  }
  return `${power && rest < 100 ? rest.toFixed(1) : Math.round(rest)} ${units[power]}`
}
