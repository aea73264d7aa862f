/** Who is signed in. The cookie is the browser's; this only knows what the controller says of it. */

import { ref } from 'vue'
import { request, setCsrfToken, whenUnauthenticated } from '@/api/client'
import { ApiError } from '@/api/errors'

export interface Session {
  user: string
  groups: string[]
  /** Sent with every request that changes something. */
  csrfToken?: string
  /** When the session ends, if it does. */
  expiresAt?: string
  /** True on loopback without authentication: there is nothing to sign out of. */
  local?: boolean
}

export const session = ref<Session | undefined>()
/** The controller wants somebody to sign in. */
export const signInNeeded = ref(false)
/** Somebody was signed in and is not any more, without having asked for it. */
export const sessionEnded = ref(false)

whenUnauthenticated(() => {
  if (session.value && !session.value.local) sessionEnded.value = true
  session.value = undefined
  signInNeeded.value = true
})

export async function loadSession(): Promise<void> {
  try {
    session.value = await request<Session>('GET', '/session')
    setCsrfToken(session.value.csrfToken ?? '')
    signInNeeded.value = false
  } catch (error) {
    if (error instanceof ApiError && error.unauthenticated) signInNeeded.value = true
    // Without an answer the pages say so themselves, and try again.
  }
}
