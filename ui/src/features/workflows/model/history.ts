/**
 * Undo and redo of a text. Each step is one splice, so that a hundred steps of a large text cost what was changed.
 *
 * Steps of the same `merge` key that follow each other within a second are one: a word that is typed is undone as a word.
 */

interface Step {
  at: number
  removed: string
  inserted: string
  merge: string
  time: number
  /** What was selected before and after, given back with the text. */
  before: readonly string[]
  after: readonly string[]
}

const MERGE_MS = 1000
const MAX_STEPS = 500

export class TextHistory {
  private done: Step[] = []
  private undone: Step[] = []
  private current: string

  constructor(text: string) {
    this.current = text
  }

  get text(): string {
    return this.current
  }
  get canUndo(): boolean {
    return this.done.length > 0
  }
  get canRedo(): boolean {
    return this.undone.length > 0
  }

  /** Forget everything and begin with this text. */
  reset(text: string): void {
    this.current = text
    this.done = []
    this.undone = []
  }

  /** The next text. `now` in milliseconds. */
  push(text: string, now: number, merge = '', before: readonly string[] = [], after: readonly string[] = before): void {
    if (text === this.current) return
    const step: Step = { ...difference(this.current, text), merge, time: now, before, after }
    const last = this.done[this.done.length - 1]
    if (merge && last?.merge === merge && now - last.time <= MERGE_MS && this.undone.length === 0) {
      const origin = unapplied(this.current, last)
      const joined: Step = { ...difference(origin, text), merge, time: now, before: last.before, after }
      this.done[this.done.length - 1] = joined
    } else {
      this.done.push(step)
      if (this.done.length > MAX_STEPS) this.done.shift()
    }
    this.undone = []
    this.current = text
  }

  undo(): { text: string; selection: readonly string[] } | null {
    const step = this.done.pop()
    if (!step) return null
    this.undone.push(step)
    this.current = unapplied(this.current, step)
    return { text: this.current, selection: step.before }
  }

  redo(): { text: string; selection: readonly string[] } | null {
    const step = this.undone.pop()
    if (!step) return null
    this.done.push({ ...step, merge: '' })
    this.current = this.current.slice(0, step.at) + step.inserted + this.current.slice(step.at + step.removed.length)
    return { text: this.current, selection: step.after }
  }
}

function unapplied(text: string, step: Step): string {
  return text.slice(0, step.at) + step.removed + text.slice(step.at + step.inserted.length)
}

/** One splice between two texts: what is left without their common beginning and end. */
export function difference(a: string, b: string): { at: number; removed: string; inserted: string } {
  const most = Math.min(a.length, b.length)
  let at = 0
  while (at < most && a.charCodeAt(at) === b.charCodeAt(at)) at++
  let tail = 0
  while (tail < most - at && a.charCodeAt(a.length - 1 - tail) === b.charCodeAt(b.length - 1 - tail)) tail++
  return { at, removed: a.slice(at, a.length - tail), inserted: b.slice(at, b.length - tail) }
}
