/** All features, collected from their folders. Adding a folder adds its routes, its navigation and its languages. */

import type { Command, Feature, NavEntry } from './feature'
import { NAV_GROUPS } from './feature'

const modules = import.meta.glob<{ default: Feature }>('../features/*/routes.ts', { eager: true })

export const features: Feature[] = Object.values(modules).map((module) => module.default)

export const navEntries: NavEntry[] = features
  .flatMap((feature) => feature.nav ?? [])
  .sort((left, right) => NAV_GROUPS.indexOf(left.group) - NAV_GROUPS.indexOf(right.group) || left.order - right.order)

export const kindPages: Record<string, { detail?: string; list?: string }> = Object.assign({}, ...features.map((feature) => feature.pages ?? {}))

export function featureCommands(): Command[] {
  return features.flatMap((feature) => feature.commands?.() ?? [])
}
