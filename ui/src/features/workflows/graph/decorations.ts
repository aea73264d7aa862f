/** What a page adds to a box or a link of a graph: the state of a run, a problem of an editor. */
export interface Decoration {
  /** State of a run's node: colour and icon. */
  phase?: string
  /** Instead of what the definition says: `3 of 10`, `waits for approval`. */
  detail?: string
  /** Tooltip. */
  title?: string
  problem?: string
  faded?: boolean
  critical?: boolean
}
export interface LinkDecoration {
  taken?: boolean
  critical?: boolean
  faded?: boolean
}
