/** Where an Instance stands, as it looks: one entry for each word, checked by the compiler. Colour is never the only sign. */

import type { IconShape, Tone } from '@/states'
import type { Standing } from './model'

export type BlockLook = { tone: Tone; icon: IconShape; label: string }

export const LOOKS: Readonly<Record<Standing | 'missing', BlockLook>> = {
  ready: { tone: 'ok', icon: 'check', label: 'instances.standing.ready' },
  notReady: { tone: 'attention', icon: 'alert', label: 'instances.standing.notReady' },
  starting: { tone: 'progress', icon: 'spinner', label: 'instances.standing.starting' },
  waiting: { tone: 'waiting', icon: 'clock', label: 'instances.standing.waiting' },
  backoff: { tone: 'bad', icon: 'clock', label: 'instances.standing.backoff' },
  stopping: { tone: 'progress', icon: 'stop', label: 'instances.standing.stopping' },
  stopped: { tone: 'off', icon: 'stop', label: 'instances.standing.stopped' },
  succeeded: { tone: 'ok', icon: 'check', label: 'instances.standing.succeeded' },
  failed: { tone: 'bad', icon: 'cross', label: 'instances.standing.failed' },
  lost: { tone: 'unknown', icon: 'question', label: 'instances.standing.lost' },
  missing: { tone: 'off', icon: 'dash', label: 'instances.standing.missing' },
}
