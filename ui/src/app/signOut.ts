import { request } from '@/api/client'
import { forgetPermissions } from './permissions'
import { session } from './session'

/** End the session on the controller; the page starts anew, so nothing of it stays on the screen. */
export async function signOut(): Promise<void> {
  await request('DELETE', '/session').catch(() => undefined)
  session.value = undefined
  forgetPermissions()
  location.assign('/')
}
