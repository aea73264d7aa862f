/** Times and spans as people read them. Pure but for the language. */

const UNITS = [
  ['d', 86_400],
  ['h', 3_600],
  ['m', 60],
  ['s', 1],
] as const
const CHINESE: Record<string, string> = { d: '天', h: '小时', m: '分', s: '秒' }

/** `90` -> 1m 30s, in at most two units. */
export function span(seconds: number, language = 'en'): string {
  let rest = Math.max(0, Math.floor(seconds))
  const parts: string[] = []
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size)
    rest -= count * size
    if (count > 0 || (unit === 's' && !parts.length)) parts.push(language === 'zh' ? `${count}${CHINESE[unit]}` : `${count}${unit}`)
    // Seconds beside hours are noise.
    if (parts.length === 2 || (parts.length === 1 && unit === 'd' && count >= 10)) break
    if (parts.length && unit === 'h' && count >= 10) break
  }
  return parts.join(' ')
}

export function secondsSince(time: string | undefined, now: number): number | undefined {
  if (!time) return undefined
  const parsed = Date.parse(time)
  return Number.isNaN(parsed) ? undefined : (now - parsed) / 1000
}

/** Making one takes longer than using it a hundred times. */
const formats = new Map<string, Intl.DateTimeFormat>()
function formatOf(locale: string): Intl.DateTimeFormat {
  let format = formats.get(locale)
  if (!format) formats.set(locale, (format = new Intl.DateTimeFormat(locale === 'zh' ? 'zh-CN' : 'en-GB', { dateStyle: 'medium', timeStyle: 'medium' })))
  return format
}

/** The full time in the user's zone, for tooltips. */
export function fullTime(time: string | undefined, locale: string): string {
  if (!time) return ''
  const parsed = new Date(time)
  return Number.isNaN(parsed.getTime()) ? time : formatOf(locale).format(parsed)
}
