import type en from './en'

const messages: typeof en = {
  title: '任务', subtitle: '一次性的工作：做什么、谁来做、尝试几次。', runs: '运行', definitions: '定义', executor: '执行者', retries: '重试', task: '任务', where: '位置', noDefinitions: '还没有任务定义。', noRuns: '还没有运行。',
  executors: { embedded: '工作进程或控制器', service: '服务', os_process: '节点上的进程', container: '节点上的容器', http: 'HTTP 地址', plugin: '插件' },
  runTitle: '运行 {name}', asYaml: '用 YAML 写 payload', payload: 'Payload（YAML）', payloadMap: '必须是名称到值的映射。', noAttempts: '还没有尝试过。', exitCode: '退出码 {code}', follow: '跟随', previous: '上一次尝试', download: '下载', keptEnd: '显示的是保留的结尾部分。', noOutput: '没有输出。',
  hasEnded: '已经结束。', isCanceling: '已在取消。', stillRuns: '还没有结束。', cancelAsked: '正在取消。', again: '再次运行', nextAttempt: '下次尝试', does: '做什么',
}
export default messages
