/** A part of another build: its files are gone after an update of the controller. Loading the page anew brings the present ones; drafts survive that. */

/** When a page was loaded anew for this last, in milliseconds, so that it is not tried for ever. */
const RELOADED = 'plum.reloadedAt'
const PATIENCE = 30_000

export function mayReload(last: string | null, now: number): boolean {
  return last === null || now - Number(last) > PATIENCE
}

/** For parts that a page loads when they are needed; whole pages are the router's. */
export function reloadForNewBuild(): void {
  globalThis.addEventListener('vite:preloadError', () => {
    const now = Date.now()
    if (!mayReload(sessionStorage.getItem(RELOADED), now)) return
    sessionStorage.setItem(RELOADED, String(now))
    location.reload()
  })
}
