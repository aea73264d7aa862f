import type en from './en'

export default {
  title: '事件',
  subtitle: '控制器和代理在最近约一小时内所做和所见的事。',
  time: '最近',
  type: '类型',
  reason: '原因',
  object: '对象',
  message: '发生了什么',
  count: '次数',
  source: '来源',
  warning: '警告',
  normal: '正常',
  all: '全部',
  onlyWarnings: '警告（{n}）',
  empty: '最近一小时没有发生任何事。',
} satisfies typeof en
