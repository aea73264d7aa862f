/** A graph of thousands of boxes seen from far away, drawn on a canvas in one go. */
import type { Decoration, LinkDecoration } from './decorations'
import type { Box, GraphModel, Link } from './graphModel'

export interface View {
  x: number
  y: number
  zoom: number
}
export interface Colours {
  line: string
  text: string
  surface: string
  accent: string
  border: string
  /** By tone; by type for what has no state. */
  fill: (box: Box, decoration: Decoration | undefined) => string
}

interface Scene {
  model: GraphModel
  view: View
  width: number
  height: number
  ratio: number
  colours: Colours
  decorations: ReadonlyMap<string, Decoration>
  linkDecorations: ReadonlyMap<string, LinkDecoration>
  selected: ReadonlySet<string>
  /** Boxes that are elements and need no drawing. */
  elements: ReadonlySet<string>
}

export function drawOverview(context: CanvasRenderingContext2D, scene: Scene): void {
  const { model, view, width, height, ratio, colours } = scene
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  context.clearRect(0, 0, width, height)
  context.setTransform(ratio * view.zoom, 0, 0, ratio * view.zoom, ratio * view.x, ratio * view.y)
  const left = -view.x / view.zoom
  const top = -view.y / view.zoom
  const right = left + width / view.zoom
  const bottom = top + height / view.zoom
  context.lineWidth = Math.max(1, 1 / view.zoom) * 1
  context.strokeStyle = colours.line
  context.beginPath()
  const critical: Link[] = []
  for (const link of model.links) {
    const from = model.byId.get(link.from)
    const to = model.byId.get(link.to)
    if (!from || !to) continue
    if (Math.max(from.x, to.x) + from.width < left || Math.min(from.x, to.x) > right) continue
    if (Math.max(from.y, to.y) + 200 < top || Math.min(from.y, to.y) - 200 > bottom) continue
    if (scene.linkDecorations.get(link.id)?.critical) critical.push(link)
    trace(context, link, from, to)
  }
  context.stroke()
  if (critical.length > 0) {
    context.strokeStyle = colours.accent
    context.lineWidth *= 2
    context.beginPath()
    for (const link of critical) trace(context, link, model.byId.get(link.from) as Box, model.byId.get(link.to) as Box)
    context.stroke()
  }
  const names = view.zoom >= 0.3
  if (names) context.font = '600 15px system-ui, sans-serif'
  for (const box of model.boxes) {
    if (scene.elements.has(box.id)) continue
    if (box.x > right || box.y > bottom || box.x + box.width < left || box.y + box.height < top) continue
    const decoration = scene.decorations.get(box.id)
    context.fillStyle = colours.fill(box, decoration)
    context.globalAlpha = decoration?.faded ? 0.3 : 1
    context.fillRect(box.x, box.y, box.width, box.height)
    context.globalAlpha = 1
    if (scene.selected.has(box.id)) {
      context.strokeStyle = colours.accent
      context.lineWidth = 3 / view.zoom
      context.strokeRect(box.x, box.y, box.width, box.height)
    }
    if (names) {
      context.fillStyle = colours.text
      context.fillText(box.title.length > 24 ? `${box.title.slice(0, 23)}…` : box.title, box.x + 10, box.y + 33, box.width - 20)
    }
  }
}

function trace(context: CanvasRenderingContext2D, link: Link, from: Box, to: Box): void {
  const points = [{ x: from.x + from.width, y: from.y + from.height / 2 }, ...link.bends, { x: to.x, y: to.y + to.height / 2 }]
  context.moveTo(points[0]?.x ?? 0, points[0]?.y ?? 0)
  for (let index = 1; index < points.length; index++) {
    const before = points[index - 1] as { x: number; y: number }
    const next = points[index] as { x: number; y: number }
    const pull = Math.max(18, Math.abs(next.x - before.x) / 2)
    context.bezierCurveTo(before.x + pull, before.y, next.x - pull, next.y, next.x, next.y)
  }
}
