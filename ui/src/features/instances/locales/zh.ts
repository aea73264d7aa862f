import type en from './en'

const zh: typeof en = {
  title: '实例',
  about: '应用在某个节点上的一份副本。由节点启动、监视并报告状态。',
  deployment: '部署',
  node: '节点',
  revision: '版本',
  restarts: '重启次数',
  cpu: 'CPU',
  memory: '内存',
  says: '说明',
  noNode: '尚无节点',
  none: '没有实例。创建部署后，其实例会显示在这里。',
  byState: '按状态',
  measure: '测量用量',
  restart: '重启',
  restarting: '正在重启 {name}',
  replacing: '正在移除 {name}',
  replace: {
    title: '移除 {name}？',
    text: '它将被停止并删除。如果部署 {owner} 仍需要同样数量，会另建一个。',
    textAlone: '它将被停止并删除，不会有替代者。',
    verb: '移除',
  },
  openHttp: '在浏览器中打开',
  conditions: '状况',
  tabs: { overview: '概览', logs: '日志', exec: '终端' },
  standing: {
    ready: '就绪', notReady: '未就绪', starting: '启动中', waiting: '等待中', backoff: '等待重启', stopping: '停止中', stopped: '已停止', succeeded: '已成功', failed: '失败', lost: '节点失联', missing: '缺少',
  },
  blocked: {
    deleting: '正在删除。', noNode: '尚未分配节点。', nodeLost: '其节点没有报告。', ended: '它已最终结束；移除后会另建一个。', stopped: '它已停止；请启动其部署。', notRunning: '它没有运行，无法在其旁执行命令。',
  },
  exit: { code: '退出码 {code}', signal: '被 {signal} 终止', unseen: '已结束，但无人看到如何结束', after: '运行了 {time}' },
  probe: { startup: '启动探针', readiness: '就绪探针', liveness: '存活探针', every: '每 {period} 一次，超时 {timeout}，失败 {n} 次后生效', none: '没有探针：开始运行即视为就绪。' },
  meter: { used: '已用 {amount}', requested: '申请 {amount}', of: '共 {amount}', unlimited: '未申请，无上限' },
  facts: {
    run: '运行', runs: '运行内容', command: '命令', pid: '进程', container: '容器', started: '启动于', nextStart: '再次启动', exit: '结束', lastExit: '上次运行', usage: '用量', notRunning: '目前没有运行。',
    unmeasured: '其节点没有应答，因此没有测量值。', measuring: '节点正在测量…', ports: '端口与端点', noPorts: '没有声明监听端口。', probes: '探针', refusals: '为何没有节点', everyNode: '所有节点',
  },
  logs: {
    title: '日志', search: '在日志中搜索', found: '第 {at} 个，共 {n} 个', previousMatch: '上一个匹配', nextMatch: '下一个匹配', onlyMatches: '仅匹配行', regex: '正则表达式', case: 'Aa', run: '运行', currentRun: '本次运行', previousRun: '上次运行',
    stream: '输出流', all: 'stdout 和 stderr', tail: '起始位置', lastLines: '最后 {n} 行', fromStart: '从头开始', times: '时间', wrap: '换行', download: '保存显示内容', downloadAll: '下载全部',
    dropped: '更早的 {n} 行未保留在此；下载包含节点保留的全部内容。', noMatch: '没有匹配的行。', waiting: '尚未输出任何内容。', empty: '没有输出。', lines: '{n} 行', follow: '继续跟随',
    state: { connecting: '正在连接…', live: '跟随中', again: '连接中断，正在重连…', ended: '运行已结束', failed: '无法读取' },
  },
  exec: {
    title: '终端', command: '命令', run: '运行', again: '重新运行', end: '结束', leave: 'Ctrl+Shift+↑ 离开终端', about: '命令在实例旁运行：使用其目录、环境、用户和限制。离开此页面即结束。', noCommand: '请输入命令。',
    openQuote: '引号没有闭合。', exited: '已结束，退出码 {code}', cut: '连接中断，命令已结束。', refused: '连接被拒绝。',
  },
}
export default zh
