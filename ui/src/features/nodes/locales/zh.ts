import type en from './en'

const zh: typeof en = {
  title: '节点',
  about: '装有代理的机器。所需内容在其上运行。',
  add: '添加节点',
  instances: '实例',
  answers: '应答时间',
  runtimes: '可运行',
  version: '代理',
  system: '系统',
  ms: '{n} 毫秒',
  seconds: '{n} 秒',
  lastSeen: '最后出现于',
  capacity: '容量与用量',
  machine: '机器',
  kernel: '内核',
  engine: '容器引擎',
  lease: '租约',
  devices: '设备',
  noDevices: '没有可供实例占用的设备。',
  deviceMissing: '不在',
  noInstances: '这里没有运行任何内容。',
  empty: { title: '尚无机器加入', text: '在机器上运行代理，几秒后它会出现在这里。' },
  resource: { cpu: 'CPU', memory: '内存', disk: '磁盘', instances: '实例', other: '{name}' },
  tabs: { overview: '概览', instances: '实例', labels: '标签与污点' },
  word: { ready: '就绪', notReady: '未就绪', unreachable: '失联', joining: '加入中', pressure: '资源紧张', draining: '排空中', drained: '已排空', cordoned: '停止调度' },
  action: { cordon: '停止调度', uncordon: '恢复调度', drain: '排空', remove: '移除' },
  done: { cordon: '{name} 不再接收新实例', uncordon: '{name} 重新接收实例', drain: '正在排空 {name}', remove: '{name} 已移除' },
  blocked: { deleting: '正在删除。', cordoned: '已不接收新实例。', notCordoned: '已在接收实例。', draining: '已在排空。', agentRuns: '其代理正在运行，会使其重新出现；请先停止代理。', inUse: '仍有实例绑定在此；请先排空或移除。' },
  remove: { title: '移除 {name}？', text: '节点将在此删除。其代理若带着仍有效的证书回来，会重新创建它。' },
  drain: {
    title: '排空 {name}', about: '没有实例在其上运行。 | 其 1 个实例将移到其他节点。 | 其 {n} 个实例将移到其他节点，同时移动的数量由部署决定。', aboutNew: '不再接收新实例。', deadline: '分钟', deadlineHint: '超过后，其余实例将不顾可用性被移除。0 表示从不。', pinned: '同时移除只能在此运行的实例', under: '节点正在排空', done: '排空已完成', asked: '请求于', until: '可用性保障至',
    left: '这里已没有实例。 | 仍有 1 个实例在此。 | 仍有 {n} 个实例在此。', stays: '{n} 个实例留下：它们只能在此运行。', empty: '这里已没有实例。',
  },
  labels: {
    labels: '标签', none: '没有自定义标签。部署按标签选择节点。', taints: '污点', taintsHint: '没有污点。污点会挡住不容忍它的实例。', addTaint: '污点', key: '键', effect: '效果', nothing: '没有更改。', saved: '标签与污点已保存', wrong: '“{text}”不合规：只能用字母、数字、连字符、点和下划线，最多 63 个。',
  },
  effects: { NoSchedule: '不接收新的', PreferNoSchedule: '尽量不接收', NoExecute: '全部移走' },
  join: {
    title: '添加节点', about: '令牌允许一台机器加入一次。机器自行生成密钥，且密钥不离开机器。', node: '节点名称', badName: '只能用小写字母、数字、点和短横线，最多 52 个字符，首尾为字母或数字。', taken: '已有节点 {name}。请先移除它，或换一个名称。', nodeHint: '留空：任意新名称', ttl: '有效期', ttls: { 600: '10 分钟', 3600: '1 小时', 86400: '1 天' }, make: '生成令牌', run: '在已安装 Plum 的机器上运行：', once: '仅显示这一次，且仅能使用一次。',
    loopback: '此地址只能从本机访问。若供其他机器使用，请以 --secure-listen 0.0.0.0:8443 启动控制器。', joined: '{name} 已加入：', waiting: '等待 {name}…', local: '或者在本机试用，无需令牌：',
  },
  link: {
    title: '到控制器的连接', answers: '应答耗时', network: '其中网络 {time}', loss: '重发比例', requests: '请求', requestsText: '共 {all}，{failed} 次无应答，{retried} 次重发', bytes: '流量', bytesText: '发送 {sent}，接收 {received}', breaker: '状态',
    silent: '未知：它没有报告', breakers: { Closed: '已连接', Open: '控制器没有应答', Probing: '正在重试' }, queued: '{n} 条状态等待送达', outages: '中断次数', measured: '测量于',
  },
}
export default zh
