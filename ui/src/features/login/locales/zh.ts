import type en from './en'

export default {
  title: '登录 Plum',
  how: '出示一次令牌，此浏览器便会在一段时间内保持登录。',
  ended: '会话已结束。重新登录后会回到原来的页面。',
  token: '令牌',
  signIn: '登录',
  refused: '无法识别。令牌可能已被吊销或已过期；一次性链接只能使用一次，且仅在几分钟内有效。',
  here: '以本机用户身份继续，无需登录',
  link: '无需输入即可登录的链接由此命令生成：',
} satisfies typeof en
