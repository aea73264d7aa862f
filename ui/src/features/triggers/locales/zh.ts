import type en from './en'

const messages: typeof en = {
  title: '触发器', subtitle: '启动工作流的原因：时钟、变化、请求、条件、其他运行。', create: '新建触发器', source: '触发方式', next: '下次', last: '上次', fired: '已触发', missed: '错过', enabled: '启用', none: '还没有触发器。',
  sources: { cron: '时钟', event: '事件', webhook: 'Webhook', condition: '条件', run: '其他运行', manual: '手动' },
  schedule: '计划', timezone: '时区', policy: '已有运行时', catchUp: '补偿错过的', eventType: '事件名', changes: '变化', path: '路径', secret: '密钥对象', secretKey: '其中的键', expression: '表达式', forTime: '持续为真', after: '在此工作流之后', phases: '结束状态',
  chooseWorkflow: '请选择工作流。', nextTimes: '接下来的触发', isDisabled: '已停用，不会触发。', notByClock: '不按时钟触发。', test: '测试', fire: '立即触发', backfill: '补跑', backfillHint: '为时间段内每个没有运行的时刻启动一次运行。', tryBackfill: '看看会运行什么', doBackfill: '启动',
  chooseSpan: '请选择时间段。', spanOrder: '开始必须早于结束。', wouldStart: '将启动 {n} 个', didStart: '已启动 {n} 个', known: '{n} 个已经存在。', firings: '触发记录', noFirings: '还没有。', result: '结果', reason: '原因',
  results: { Started: '已启动', Queued: '已排队', Missed: '错过', Refused: '被拒绝' }, definition: '定义', enable: '启用', disable: '停用', deleteText: '删除触发器 {name}？它的运行会保留。',
}
export default messages
