import type en from './en'

const zh: typeof en = {
  title: '概览',
  health: '健康状况',
  nodes: '节点',
  deployments: '部署',
  workflows: '工作流',
  devices: '设备',
  syncs: '同步',
  none: '暂无',
  allWell: '全部正常',
  activeRuns: '{n} 个运行进行中',
  tone: { ok: '正常', bad: '异常', unknown: '未知', attention: '需关注', progress: '进行中', waiting: '等待中', off: '已关闭' },
  differs: '与期望不符',
  asDesired: '一切符合期望。',
  more: '另外 {n} 个',
  fewer: '收起',
  events: '最近事件',
  changes: '最近变更',
  noChanges: '最近没有变更。',
  auditRefused: '您的角色无权查看变更记录。',
  capacity: { title: '容量', cpu: '处理器核心', memory: '内存', instances: '实例', requested: '已申请 {value}（{percent}%）', used: '已使用 {value}（{percent}%）' },
  begin: {
    title: '从这里开始', node: '添加节点', nodeText: '还没有节点。 | 已有 {n} 个节点。 | 已有 {n} 个节点。', deployment: '运行程序',
    deploymentText: '命令、软件包或镜像，可运行在任意数量的节点上。', workflow: '绘制工作流', workflowText: '步骤、分支、循环与审批，拖放即可。',
    yaml: '粘贴 YAML', yamlText: '任意类型的清单，应用前先校验并计划。',
  },
}
export default zh
