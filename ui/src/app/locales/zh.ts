import type en from './en'

const zh: typeof en = {
  name: 'Plum',
  skip: '跳到内容',
  navigation: '导航',
  openNavigation: '打开导航',
  closeNavigation: '关闭导航',
  group: { overview: '', applications: '应用', automation: '自动化', devices: '设备', data: '数据', delivery: '交付', system: '系统' },
  language: '语言',
  theme: '外观',
  themes: { auto: '跟随系统', light: '浅色', dark: '深色' },
  namespace: '命名空间',
  allNamespaces: '所有命名空间',
  search: '搜索或执行命令',
  palette: {
    title: '搜索与命令', placeholder: '对象、页面或操作…', nothing: '没有匹配的结果。', pages: '页面', actions: '操作', objects: '对象',
    searching: '正在搜索…', hint: '方向键选择，回车打开，Esc 关闭',
  },
  user: '当前用户：{user}',
  signOut: '退出登录',
  signInNeeded: '会话已结束。',
  signIn: '登录',
  forbidden: '您无权对 {resource} 执行 {verb}。管理员可以授予相应的角色。',
  connected: '实时',
  staleSince: '自 {time} 起未更新，显示的内容可能已过时；正在重试…',
  unreachable: '无法连接控制器，正在重试…',
  notFound: { title: '页面不存在', text: '地址可能有误，或属于其他版本。', home: '返回概览' },
  newVersion: '界面有新版本。',
  reload: '重新加载',
}
export default zh
