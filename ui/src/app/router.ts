/** Addresses. Filters, sorting, tabs and the namespace are in the query, so that a reload or a link shows the same. */

import { ref } from 'vue'
import { createRouter, createWebHistory, type RouteLocationRaw } from 'vue-router'
import { apiVersionOf, kinds, type KindRef } from '@/api/kinds'
import { features, kindPages } from './features'

/** Pages are below `/ui/`, so that no page can ever have the address of something in the API; `/` leads here as well. */
export const BASE = '/ui/'

/** The address that was loaded anew last, so that it is not tried for ever. */
const RELOADED = 'plum.reloaded'

export const router = createRouter({
  history: createWebHistory(BASE),
  routes: [
    { path: '/', redirect: { name: 'overview' } },
    { path: '/:rest(.*)*', name: 'not-found', component: () => import('./NotFound.vue') },
  ],
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
})

/** A page is being loaded: the shell shows it. */
export const loadingPage = ref(false)
router.beforeEach((to, from) => {
  if (to.path !== from.path) loadingPage.value = true
})
router.afterEach(() => (loadingPage.value = false))
// A page of another build: its files are gone after an update of the controller. Loading the address anew brings the present ones.
router.onError((error: unknown, to) => {
  loadingPage.value = false
  if (/dynamically imported module|module script|Loading chunk/i.test(String(error)) && sessionStorage.getItem(RELOADED) !== to.fullPath) {
    sessionStorage.setItem(RELOADED, to.fullPath)
    location.assign(router.resolve(to.fullPath).href)
  }
})

/** Called once at the start. Not while this file is loaded: features import it for their commands. */
export function installRoutes(): void {
  for (const route of features.flatMap((feature) => feature.routes)) router.addRoute(route)
}

/** Ask for the scripts of the page that the address names, while session and language are on their way. */
export function preloadPage(): void {
  const path = location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length - 1) : '/'
  const asked = router.resolve(path)
  const { matched } = asked.matched.some((record) => record.redirect) ? router.resolve({ name: 'overview' }) : asked
  for (const record of matched) {
    const page = record.components?.default as unknown
    // One that cannot be loaded is told when the router asks for it.
    if (typeof page === 'function') (page as () => Promise<unknown>)().catch(() => undefined)
  }
}

/** Where the page of an object is: the feature's own, or the generic one. */
export function objectRoute(kind: KindRef, namespace: string | undefined, name: string, tab?: string): RouteLocationRaw {
  const query = tab ? { tab } : undefined
  const known = (kinds as Record<string, KindRef>)[kind.kind]
  const own = known && apiVersionOf(known) === apiVersionOf(kind) ? kindPages[kind.kind]?.detail : undefined
  if (own) return { name: own, params: kind.namespaced ? { namespace: namespace ?? 'default', name } : { name }, query }
  return {
    name: 'object',
    params: { group: kind.group || 'core', version: kind.version, plural: kind.plural, namespace: (kind.namespaced && namespace) || '-', name },
    query,
  }
}

/** Where the list of a kind is. */
export function listRoute(kind: KindRef, query?: Record<string, string>): RouteLocationRaw {
  const own = kind.group === 'plum.dev' || kind.group === '' ? kindPages[kind.kind]?.list : undefined
  return own ? { name: own, query } : { name: 'objects-of-kind', params: { group: kind.group || 'core', version: kind.version, plural: kind.plural }, query }
}
