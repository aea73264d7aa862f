/** What a feature tells the shell about itself. See ui/README.md. */

import type { Component } from 'vue'
import type { RouteRecordRaw } from 'vue-router'
import type { KindRef } from '@/api/kinds'

/** Sections of the navigation, in their order. */
export const NAV_GROUPS = ['overview', 'applications', 'automation', 'devices', 'data', 'delivery', 'system'] as const
export type NavGroup = (typeof NAV_GROUPS)[number]

export interface NavEntry {
  group: NavGroup
  /** Position in its group: 10, 20, ... */
  order: number
  /** i18n key, such as `deployments.title`. */
  label: string
  icon: Component
  /** Name of the route that it leads to. */
  route: string
  /** The entry is shown greyed with a reason when objects of this kind may not be listed. */
  kind?: KindRef
}

export interface Command {
  id: string
  /** i18n key. */
  label: string
  icon?: Component
  /** Words that find it besides its label. */
  keywords?: string
  /** What may be done is asked like for buttons: verb on kind. */
  permission?: { verb: string; kind: KindRef }
  run: () => void
}

export interface Feature {
  routes: RouteRecordRaw[]
  nav?: NavEntry[]
  /** Pages of kinds: `Deployment` -> name of a route with the params `namespace` and `name`. Others have the generic page. */
  pages?: Record<string, { detail?: string; list?: string }>
  /** Entries of the Ctrl-K palette. */
  commands?: () => Command[]
}

export function defineFeature(feature: Feature): Feature {
  return feature
}
