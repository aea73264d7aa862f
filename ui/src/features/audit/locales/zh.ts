import type en from './en'

export default {
  title: '审计日志',
  subtitle: '谁更改了什么、登录过、执行过命令或被拒绝。日志只能追加，且不含任何取值。',
  time: '时间',
  user: '用户',
  verb: '操作',
  verbs: { create: '新建', update: '更新', patch: '修改', apply: '应用', delete: '删除', deletecollection: '批量删除', get: '读取', list: '列出', watch: '监听', login: '登录', logout: '退出登录', connect: '连接', exec: '执行命令', impersonate: '冒用身份' },
  subject: '对象',
  outcome: '结果',
  address: '来源',
  agent: '程序',
  by: '（实为 {user}）',
  anybody: '任何人',
  anyOutcome: '任何结果',
  is: { succeeded: '成功', refused: '被拒绝', failed: '失败' },
  again: '重新读取',
  older: '更早的记录',
  verify: '校验链条',
  intact: '日志完整：共 {n} 条记录，编号 {first}。其哈希：| 日志完整：共 {n} 条记录，编号 {first} 至 {last}。最后一条的哈希：',
  broken: '日志不完整：{problem}',
  empty: '没有这样的记录。',
} satisfies typeof en
