import type en from './en'

const messages: typeof en = {
  title: '运行', subtitle: '每次运行固定在启动时的定义上，重启后继续。', workflow: '工作流', progress: '进度', duration: '用时', by: '发起者', none: '还没有运行过。',
  shown: { all: '全部', active: '进行中', failed: '失败' },
  count: { succeeded: '成功', failed: '失败', running: '运行中', waiting: '等待', canceled: '已取消', skipped: '已跳过', pending: '未开始' },
  type: { string: '文本', integer: '整数', number: '数字', boolean: '是或否', object: '对象（JSON）', array: '列表（JSON）' }, required: '必须给出',
  problem: { required: '必须给出。', type: '这不是{type}。', enum: '不在允许的值之中。', json: '这不是合法的{type}。' }, fixParams: '有参数缺失或错误。',
  startTitle: '运行 {name}', noParams: '这个工作流没有参数。', more: '更多', priority: '优先级', wrongPriority: '优先级是整数。', started: '{name} 已启动。',
  tab: { graph: '图', gantt: '时间线', nodes: '节点', details: '详情' }, took: '用时 {time}', createdAt: '创建于', cut: '只显示前 {n} 行；这次运行还有更多。',
  params: '参数', outputs: '输出', commands: '人的操作', again: '新的运行接管了已成功的部分：{name}', asked: {
    pause: '运行暂停：不再启动新节点。', resume: '运行继续。', cancel: '正在取消运行。', retry: '失败的部分正在重试。', rerun: '重新运行。', skip: '已跳过。', markSucceeded: '已标记。', markFailed: '已标记。', cancelNode: '已取消。', approve: '已批准。', reject: '已拒绝。',
  },
  control: { pause: '暂停', resume: '恢复', cancel: '取消运行', retry: '重试失败项', rerun: '重新运行', rerunFrom: '从这里重新运行', skip: '跳过', markSucceeded: '标记为成功', markFailed: '标记为失败', cancelNode: '取消此节点', approve: '批准', reject: '拒绝' },
  done: {
    pause: '{node}：已暂停', resume: '{node}：已恢复', cancel: '{node}：已取消', retry: '{node} 正在重试。', rerun: '{node} 及其后的节点重新运行。', skip: '{node} 已跳过。', markSucceeded: '{node} 视为成功。', markFailed: '{node} 视为失败。', cancelNode: '正在取消 {node}。', approve: '{node} 已批准。', reject: '{node} 已拒绝。',
  },
  listComma: '、', refusedRun: '{control}：运行状态为“{phase}”，仅在{allowed}时可用。', refusedNode: '{control}：节点状态为“{phase}”，仅在{allowed}时可用。',
  graphOf: '运行 {name} 的图', iteration: '第 {n} 次迭代', iterationOf: '{n} / {total}', attempt: '第 {n} 次尝试', iterationLabel: '迭代', notPinned: '运行尚未开始：启动时才会固定定义。', critical: '关键路径', nothingStarted: '还没有节点开始。',
  startedAt: '开始', attempts: '尝试', messageColumn: '消息', nodePanel: '节点 {name}', output: '输出', input: '输入', logs: '日志', due: '继续于', iterations: '迭代', reused: '取自之前的运行', controls: '可以做什么',
  message: '留言（留作记录）', markOutput: '标记为成功时的输出（JSON）', notNow: '现在不可用', endedHint: '运行已结束：重新运行会产生新的运行，并接管保留的结果。', inputGiven: '实际给出的内容，表达式已填入。', inputWritten: '按定义所写；由引擎自己执行。',
  grid: '最近的运行', gridHint: '最近 {n} 次，最新的在右边', approvals: '等您处理',
}
export default messages
