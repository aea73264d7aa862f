/** Leads to the page for signing in when the controller asks who somebody is, and back to where they were. */

import { watch } from 'vue'
import type { RouteLocationNormalized, RouteLocationRaw, Router } from 'vue-router'
import { signInNeeded } from './session'

export function leadToSignIn(router: Router): void {
  const login = (from: RouteLocationNormalized): RouteLocationRaw => ({ name: 'login', query: from.path === '/' ? {} : { next: from.fullPath } })
  // No page is begun that could only ask for what is refused.
  router.beforeEach((to) => !signInNeeded.value || to.name === 'login' || login(to))
  watch(signInNeeded, async (needed) => {
    if (!needed) return
    await router.isReady()
    const here = router.currentRoute.value
    if (here.name !== 'login') await router.replace(login(here))
  })
}

/** Where to go after signing in: a page of ours, whatever somebody wrote into the address. */
export function nextPage(next: unknown): string {
  return typeof next === 'string' && /^\/(?![/\\])/.test(next) && !next.startsWith('/login') ? next : '/'
}

/** The code of a one-time link: behind `#`, so that no server and no log has ever seen it. */
export function linkOf(hash: string): string {
  return new URLSearchParams(hash.replace(/^#/, '')).get('link') ?? ''
}
