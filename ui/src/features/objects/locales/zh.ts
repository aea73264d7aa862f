import type en from './en'

const zh: typeof en = {
  title: '全部对象',
  subtitle: 'API 提供的所有类型',
  plum: 'Plum 的类型',
  kept: '沿用自 Kubernetes',
  users: '用户自定义',
  noUsers: '还没有自定义类型。',
  define: '定义一个',
  createFromYaml: '用 YAML 新建',
  createOf: '新建 {kind}',
  createHint: '一个或多个清单，以 --- 分隔。Ctrl-空格可查看可用字段。',
  openFile: '打开文件…',
  nothingYet: '请先编写或粘贴清单。',
  noSuchKind: 'API 在 {apiVersion} 中不提供 {kind}。',
  noName: '{kind} 缺少 metadata.name。',
  applied: '已应用：',
  deleteMany: '删除 {n} 个对象？',
}
export default zh
