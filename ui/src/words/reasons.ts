/**
 * Reasons, condition types and statuses of the API in Chinese. The API's own word stands beside it, because people search for it and programs know it.
 * A reason that the code can say and that is not here fails `tests/unit/test_ui_words.py`.
 */
export const REASONS: Record<string, string> = {
  AgentRestarted: '节点代理重启', AllAvailable: '全部可用', AllHealthy: '全部健康', Allowed: '已允许', AlreadyExists: '已存在', ApplyFailed: '应用失败', Approved: '已批准', ApprovedAnnotation: '有批准注解',
  ArtifactAmbiguous: '制品不唯一', ArtifactCorrupt: '制品损坏', ArtifactForbidden: '无权读取制品', ArtifactInvalid: '制品无效', ArtifactIsImage: '制品是镜像', ArtifactMissing: '缺少制品', ArtifactNotSupported: '不支持制品', ArtifactUnavailable: '制品无法获取',
  AsDesired: '符合期望', AsWanted: '符合期望', Asked: '应要求', Available: '可用', BackOff: '退避等待', BadAnswer: '应答无法理解', BadRequest: '请求有误', BodyFailed: '循环体失败', CanaryPaused: '金丝雀暂停', CancelUnanswered: '取消未获应答', Canceled: '已取消',
  CertificateExpiring: '证书即将到期', Changed: '已更改', ChangesLost: '错过变化', ClockSetBack: '时钟被调回', Closed: '已关闭', CommandMissing: '缺少命令', CommandRefused: '指令被拒绝', Complete: '完整', Completed: '已完成', ConcurrencyForbidden: '不允许并发',
  ConcurrencyLimit: '并发已满', Conflict: '冲突', ControllerRestarted: '控制器重启', DatabaseError: '数据库错误', DeadlineExceeded: '超过期限', DefinitionLost: '定义丢失', DefinitionMissing: '缺少定义', Degraded: '降级', DeleteFailed: '删除失败', Deleted: '已删除',
  DeletesBlocked: '删除被拦截', DeviceFailed: '设备失败', DeviceInUse: '设备被占用', DeviceLost: '设备失联', DeviceMissing: '缺少设备', DeviceRestarted: '设备重启', Differs: '有差异', Disabled: '已停用', Draft: '草稿', Drained: '已排空', Draining: '排空中',
  DriftCorrected: '漂移已纠正', Drifted: '已漂移', DriverMissing: '缺少驱动', Dropped: '已放弃', Ended: '已结束', EndpointTimeout: '端点超时', Enforced: '已生效', EngineUnavailable: '容器引擎不可用', Enough: '充足', EnvironmentUnavailable: '环境变量无法读取', Error: '错误',
  Established: '已生效', Evicted: '已驱逐', Exact: '精确', Exclusive: '独占', Executable: '可执行', ExitCode: '退出码', ExitUnknown: '退出情况未知', Expired: '已过期', ExpressionFailed: '表达式失败', Failed: '失败', False: '否', True: '是', Fenced: '已隔离',
  FieldValueDuplicate: '字段值重复', FieldValueForbidden: '字段不允许设置', FieldValueInvalid: '字段值无效', FieldValueNotFound: '字段值不存在', FieldValueNotSupported: '字段值不受支持', FieldValueRequired: '缺少字段', FieldValueTooLong: '字段值过长', FieldValueTooMany: '字段项过多', FieldValueTypeInvalid: '字段类型错误',
  FileNotWritable: '文件无法写入', FilesUnavailable: '文件内容无法读取', Fired: '已触发', GrpcStatus: 'gRPC 状态', Healthy: '健康', Held: '已保持', HookFailed: '钩子失败', HttpStatus: 'HTTP 状态', ImageInvalid: '镜像无效', ImageMissing: '缺少镜像', ImagePullFailed: '拉取镜像失败',
  ImageUnavailable: '镜像不可用', InitialNamesAccepted: '名称已接受', InstanceAffinity: '实例亲和不满足', InstanceAntiAffinity: '实例反亲和不满足', InstanceDeletionPending: '等待实例删除', InstancesLost: '实例失联', InsufficientCpu: 'CPU 不足', InsufficientMemory: '内存不足', InsufficientResource: '资源不足',
  InterpreterMissing: '缺少解释器', Invalid: '无效', InvalidConfig: '配置无效', InvalidDefinition: '定义无效', InvalidEnvironment: '环境变量无效', InvalidExpression: '表达式无效', InvalidFieldRef: '字段引用无效', InvalidManifests: '清单无效', InvalidOutput: '输出无效', InvalidParams: '参数无效',
  InvalidPayload: '输入无效', InvalidPayloadSchema: '输入模式无效', InvalidRun: '运行无效', InvalidSpec: '规格无效', InvalidStart: '起点无效', InvalidWait: '等待无效', Killing: '正在终止', KindNotFound: '没有此类型', KubernetesAPIApprovalPolicyConformant: '符合批准策略', LeaseExpired: '租约过期',
  LeaseNotHeld: '未持有租约', LeaseRenewed: '租约已续', LibraryMissing: '缺少库', Lost: '失联', MailRefused: '邮件被拒绝', Marked: '人工标记', McpError: 'MCP 错误', MethodGone: '操作已不存在', MinimumAvailable: '达到最少可用', MinimumUnavailable: '未达最少可用', More: '更多', MountInvalid: '挂载无效',
  MountMissing: '缺少挂载目录', NameTaken: '名称已被占用', NamesAccepted: '名称已接受', NamesConflict: '名称冲突', NestedTooDeep: '嵌套过深', NeverReported: '从未上报', NeverTrue: '永不为真', NoAnswer: '无应答', NoCase: '没有匹配的情形', NoConflicts: '没有冲突', NoEndpoint: '没有端点', NoNodeFits: '没有合适的节点',
  NoPlace: '没有空位', NoValue: '没有值', NodeAffinityMismatch: '节点亲和不满足', NodeDeleted: '节点已删除', NodeDrained: '节点已排空', NodeGone: '节点已不存在', NodeIncomplete: '节点缺少组件', NodeLost: '节点失联', NodeMissing: '缺少节点', NodeNotReady: '节点未就绪', NodeReady: '节点就绪', NodeRestarted: '节点重启',
  NodeSelectorMismatch: '节点标签不符', NodeSilent: '节点无消息', NodeStorageFailed: '节点存储出错', NodeStorageFull: '节点磁盘已满', NodeUnreachable: '节点不可达', NodeUnschedulable: '节点停止调度', None: '无', NotAccepted: '未接受', NotAllowed: '不允许', NotAnnounced: '未登记', NotEnforced: '限制未生效',
  NotForNodes: '不能在节点上执行', NotFound: '不存在', NotGenuine: '来源不可信', NotListening: '没有监听', NotOlderThan: '不早于', NotRenewed: '未续期', NothingDesired: '没有期望值', Offered: '已交给节点', Offline: '离线', Online: '在线', Open: '打开', Operation: '操作', OperationDeleted: '操作已删除', OperationFailed: '操作失败',
  OtherSession: '属于其他会话', OutputRefused: '输出被拒绝', OutputTooLarge: '输出过大', Paused: '已暂停', Pending: '等待中', Placed: '已分配节点', Planned: '已计划', PluginBroken: '插件损坏', PluginMissing: '缺少插件', PortInUse: '端口被占用', Prepared: '已准备', Preparing: '准备中', ProbeFailed: '探测失败', Probing: '探测中',
  ProgressDeadlineExceeded: '发布超时', Progressing: '进行中', Queued: '排队中', Ready: '就绪', RecipientsRefused: '收件人被拒绝', Reconciling: '处理中', RecordLost: '记录丢失', ReferenceMissing: '引用缺失', Refused: '被拒绝', Rejected: '已驳回', Renewed: '已续期', Replaced: '已被替换', Replacing: '正在替换', ReplicaFailure: '实例无法创建',
  Reserved: '已被预留', ResourceDeleted: '设备已删除', ResourceGone: '设备已不存在', ResourceLimits: '资源限制', Restart: '重启', Resumed: '已恢复', Retry: '重试', Returned: '已退回', RevisionMissing: '缺少版本', RolledBack: '已回滚', RollingOut: '发布中', RolloutComplete: '发布完成', RunFailed: '运行失败',
  RunGoesOn: '已有运行', RunMissing: '缺少运行', Running: '运行中', RuntimeMissing: '缺少运行时', RuntimeNotSupported: '不支持此运行时', Scheduled: '已调度', SecretInCondition: '条件中有密钥', SecretInvalid: '密钥无效', SecretMissing: '缺少密钥', Short: '不足', Silent: '无消息', Skipped: '已跳过', SomeResourcesRemain: '仍有对象', SourceFailed: '来源出错',
  StageControl: '阶段控制', StageInput: '阶段输入', Start: '开始', Starting: '启动中', Stopped: '已停止', Stopping: '停止中', Succeeded: '成功', Suspended: '已挂起', Synced: '已同步', Tainted: '有污点', TaskMissing: '缺少任务', Terminating: '正在终止', Timeout: '超时', TooMany: '过多', TooManyInstances: '实例已满', TooSoon: '间隔太短',
  ToolFailed: '工具失败', TopologySpread: '分布不满足', UnapprovedAnnotation: '有未批准注解', Unknown: '未知', UnknownBuiltin: '没有此内置任务', UnknownTask: '没有此任务', Unreachable: '不可达', UnsupportedMediaType: '不支持的媒体类型', UntoleratedTaint: '污点未被容忍', UpstreamFailed: '上游失败', UserNotPermitted: '无权使用此用户',
  UserUnknown: '用户不存在', Wait: '等待', WaitTimeout: '等待超时', Waiting: '等待中', WaitsForReservation: '等待预留', Wanted: '应要求', WatchEnded: '监听结束', When: '条件不成立', WorkerLost: '工作进程失联', WorkerStopped: '工作进程已停止', WorkersRegistered: '工作进程已注册', WorkflowArchived: '工作流已归档',
  WorkflowIsTemplate: '工作流是模板', WorkflowMissing: '缺少工作流', WorkflowNotFound: '工作流不存在', WorkflowNotRunnable: '工作流不可运行', WorkflowPaused: '工作流已暂停', WorkingDirMissing: '缺少工作目录', WrongArchitecture: '架构不符',
  // Composed in the code: `Enough` and `Short` with what is measured, `Not` with the name of a condition.
  EnoughDisk: '磁盘充足', EnoughMemory: '内存充足', EnoughPIDs: '进程号充足', ShortDisk: '磁盘不足', ShortMemory: '内存不足', ShortPIDs: '进程号不足', EnoughDiskSpace: '磁盘充足', ShortDiskSpace: '磁盘不足',
  NotPrepared: '未准备好', NotStarted: '未启动', NotReady: '未就绪', Started: '已启动', NeverFired: '从未触发', Missed: '已错过', Added: '新增', Modified: '修改',
}

/** Types of conditions. */
export const CONDITIONS: Record<string, string> = {
  Available: '可用', Progressing: '发布进度', Paused: '已暂停', ReplicaFailure: '实例创建失败', Ready: '就绪', Scheduled: '已调度', Prepared: '已准备', Started: '已启动', Lost: '失联', Drained: '已排空', DiskPressure: '磁盘紧张', MemoryPressure: '内存紧张', PIDPressure: '进程号紧张',
  CertificateExpiring: '证书即将到期', NetworkUnavailable: '网络不可用', Established: '已生效', NamesAccepted: '名称已接受', Terminating: '正在终止', NonStructuralSchema: '模式不合规', KubernetesAPIApprovalPolicyConformant: '符合批准策略', NamespaceContentRemaining: '仍有对象', Online: '在线', Synced: '已同步',
  Healthy: '健康', Degraded: '降级', Stalled: '停滞', Reconciling: '处理中', Approved: '已批准', Drifted: '已漂移', ResourceLimits: '资源限制', Succeeded: '成功', Failed: '失败', NameConflict: '名称冲突', Reachable: '可达', Valid: '有效', Unreachable: '不可达', Complete: '完成', Running: '运行中',
  SourceReady: '来源就绪', Applied: '已应用', Fetched: '已获取', Blocked: '已拦截', Suspended: '已挂起',
}

export const STATUSES: Record<string, string> = { True: '是', False: '否', Unknown: '未知' }
