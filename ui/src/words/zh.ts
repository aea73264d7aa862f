/** The API's words in Chinese. Loaded with the language, and by nobody else. */
import { FACTS } from './facts'
import { CONDITIONS, REASONS, STATUSES } from './reasons'
import { REFUSALS } from './refusals'
import { makeWords } from './say'
import { WHY } from './why'

export const zh = makeWords({ reasons: REASONS, conditions: CONDITIONS, statuses: STATUSES, sentences: [WHY, FACTS, REFUSALS] })
