/** What a schema refuses, in a sentence. */
import type { Finding } from './document'

export type Translate = (key: string, named: Record<string, unknown>) => string

export function findingWords(t: Translate, finding: Finding): string {
  const field = finding.path.join('.')
  const value = JSON.stringify(finding.value)
  // Nothing where something has to be: that its length is wrong helps nobody.
  if (finding.code === 'length' && finding.value === '') return t('common.yaml.required', { field })
  const sentence = t(`common.yaml.${finding.code}`, { field, value, expected: finding.expected })
  return finding.code === 'unknown' && finding.expected ? `${sentence} ${t('common.yaml.meant', { name: finding.expected })}` : sentence
}
