import type en from './en'

const zh: typeof en = {
  title: '制品',
  about: '以名称和版本标识的软件包和镜像。版本永不改变。',
  app: '应用',
  version: '版本',
  versions: '所有版本',
  newest: '最新',
  type: '类型',
  types: { zip: '软件包', image: '镜像' },
  size: '大小',
  users: '使用者',
  usedBy: '使用者',
  unused: '无人使用',
  none: '尚无软件包。请将 zip 拖到上方。',
  image: '镜像',
  entry: '入口',
  stored: '存储于',
  content: '内容',
  offers: '提供的服务',
  offersNothing: '自身不提供服务。',
  anyPort: '任意端口',
  instances: '{n} 个实例在运行它',
  deploy: '部署',
  download: '下载',
  inUse: '正被 {users} 使用；请先删除它们或改用其他版本。',
  remove: { title: '删除 {name}？', text: '已有它的节点会保留；新的节点将无法再获取。' },
  removed: '{name} 已删除',
  upload: {
    title: '上传', drop: '将软件包拖到这里', about: '根目录含 start.sh 和 meta.ini（name、version）的 zip。上传时按实际运行方式检查。', choose: '选择文件', checking: '已全部到达，控制器正在检查…', waiting: '连接中断，稍后继续…', rate: '{rate}/秒', left: '剩余 {time}',
  },
}
export default zh
