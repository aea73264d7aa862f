/**
 * Quantities as manifests write them (`500m`, `64Mi`, `1e3`) and as people read them.
 *
 * Figures here are for showing: a double is exact enough for them. What decides anything is computed by the server.
 */

const SCALE: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}
const FORM = /^([+-]?\d*\.?\d+|[+-]?\d+\.)(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?\d{1,3}))?$/

/** The amount in units, or undefined for what is no quantity. */
export function parseQuantity(value: string | number | undefined | null): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  const found = value == null ? null : FORM.exec(value)
  if (found === null) return undefined
  const number = Number(found[1])
  return found[3] !== undefined ? number * 10 ** Number(found[3]) : number * (SCALE[found[2] ?? ''] ?? 1)
}

/** `512 MiB`, `1.5 GiB`, `0 B`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']
  let size = Math.abs(bytes)
  let unit = 0
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit += 1
  }
  const digits = unit === 0 || size >= 100 ? 0 : size >= 10 ? 1 : 2
  return `${bytes < 0 ? '-' : ''}${trimmed(size.toFixed(digits))} ${units[unit]}`
}

/** Cores: `2`, `0.25`, `0.004`. */
export function formatCores(cores: number): string {
  if (cores >= 10) return trimmed(cores.toFixed(1))
  return trimmed(cores.toFixed(cores >= 0.1 || cores === 0 ? 2 : 3))
}

/** The share of a whole in percent, bounded to what a bar can show; undefined where there is no whole. */
export function percentOf(part: number | undefined, whole: number | undefined): number | undefined {
  if (part === undefined || whole === undefined || whole <= 0) return undefined
  return Math.min(100, Math.max(0, (100 * part) / whole))
}

/** A named resource as its figures are read: cores for cpu, bytes for memory and disks, plain numbers for what is counted. */
export function formatResource(name: string, value: number): string {
  if (name === 'cpu') return formatCores(value)
  if (name === 'memory' || name.includes('disk') || name.includes('storage')) return formatBytes(value)
  return trimmed(value.toFixed(Number.isInteger(value) ? 0 : 2))
}

function trimmed(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}
