import { describe, expect, it } from 'vitest'
import { FACTS } from './facts'
import { CONDITIONS, REASONS } from './reasons'
import { REFUSALS } from './refusals'
import { makeWords, pairsOf } from './say'
import { WHY } from './why'
import { zh } from './zh'

describe('sentences of the API in Chinese', () => {
  it.each([
    ['the agent renews its lease', '代理正常续租'],
    ['Deployment web is where it should be: 2 of 2 instances are available since 5m10s.', 'Deployment web 符合期望：2 个实例中 2 个可用，已持续 5 分 10 秒。'],
    ['Deployment web is not where it should be: 0 of 1 instances are available.', 'Deployment web 不符合期望：1 个实例中 0 个可用。'],
    [
      'revision 1 made no progress for 5 s: web-1 the last run ended with code 3; the rollout stopped. Change the spec to try again, or plum rollout undo',
      '版本 1 已 5 秒没有进展：web-1 the last run ended with code 3；发布已停止。修改规格可重试，或执行 plum rollout undo',
    ],
    ['The rollout failed 3m ago: ProgressDeadlineExceeded: revision 1 made no progress for 5 s; the rollout stopped. Change the spec to try again, or plum rollout undo.', '发布失败（3 分前）：发布超时：版本 1 已 5 秒没有进展；发布已停止。修改规格可重试，或执行 plum rollout undo。'],
    ['0 of 2 nodes fit: 2 InsufficientCpu (node-1 has 100m cpu free of 2000m, 500m are requested)', '2 个节点都不合适：2 × CPU 不足（node-1 的 CPU 空闲 100m（共 2000m），请求 500m）'],
    ['Invalid value: -1: must be greater than or equal to 0', '值 -1 无效：必须不小于 0'],
    ['deployments.plum.dev "web" not found', '没有 deployments.plum.dev“web”'],
    ['Its last run ended: with exit code 1, 30s ago, after 2s.', '上次运行的结束情况：退出码 1，30 秒前，历时 2 秒。'],
    ['words of a program that nobody knows', 'words of a program that nobody knows'],
    ['', ''],
  ])('%s', (english, chinese) => {
    expect(zh.text(english)).toBe(chinese)
  })
  it('has each part of a sentence in its translation, and each sentence once', () => {
    const pairs = pairsOf([WHY, FACTS, REFUSALS])
    const parts = (text: string): string => [...new Set(text.match(/\{\d\}/g))].sort().join()
    expect(pairs.filter(([from, to]) => [...parts(to)].some((part) => !parts(from).includes(part))).map(([from]) => from)).toEqual([])
    // `is` and `are`, which Chinese does not have.
    expect(pairs.filter(([from, to]) => parts(from) !== parts(to)).length).toBe(6)
    const twice = pairs.map(([from]) => from).filter((from, at, all) => all.indexOf(from) !== at && pairs.filter(([one]) => one === from).some(([, to]) => to !== pairs.find(([one]) => one === from)![1]))
    expect(twice).toEqual([])
  })
  it('is Chinese', () => {
    for (const text of [...Object.values(REASONS), ...Object.values(CONDITIONS), ...pairsOf([WHY, FACTS, REFUSALS]).map(([, to]) => to)]) {
      expect(/[\u4e00-\u9fff]/.test(text) || /^[\s{}\d（）…，。；:.'“”=]+$/.test(text), text).toBe(true)
    }
  })
  it('knows every phase that the state table knows', () => {
    const names = ['Pending', 'Scheduled', 'Preparing', 'Starting', 'Running', 'Stopping', 'Stopped', 'Succeeded', 'Failed', 'Unknown', 'Queued', 'Timeout', 'Canceled', 'Paused', 'Expired']
    expect(names.filter((phase) => !REASONS[phase])).toEqual([])
  })
  it('is quick: thousands of texts that nobody translated hold nothing up', () => {
    const words = makeWords({ reasons: REASONS, conditions: {}, statuses: {}, sentences: [WHY, FACTS, REFUSALS] })
    for (let index = 0; index < 300; index += 1) words.text(`a line of a program, number ${index}: which nobody; has (ever) translated`)
    expect(words.text('lost')).toBe('lost')
  })
})
