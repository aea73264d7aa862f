/** How each type of node looks: its icon, its colour and its group in the palette. One table; the compiler asks for every type. */
import type { Component } from 'vue'
import {
  Aim, ChatDotRound, CircleCheck, Coin, Connection, Cpu, DocumentCopy, Link, Message, Odometer, Operation, Promotion, Refresh, Share, Switch, Timer, User,
} from '@element-plus/icons-vue'
import type { NodeType } from './model/definition'

export type NodeGroup = 'work' | 'flow' | 'steps'
export interface NodeLook {
  icon: Component
  /** Custom property with its colour. */
  colour: string
  group: NodeGroup
}

export const NODE_LOOKS: Readonly<Record<NodeType, NodeLook>> = {
  task: { icon: Cpu, colour: 'var(--wf-work)', group: 'work' },
  subworkflow: { icon: Connection, colour: 'var(--wf-work)', group: 'work' },
  branch: { icon: Share, colour: 'var(--wf-flow)', group: 'flow' },
  condition: { icon: Switch, colour: 'var(--wf-flow)', group: 'flow' },
  parallel: { icon: Operation, colour: 'var(--wf-flow)', group: 'flow' },
  loop: { icon: Refresh, colour: 'var(--wf-loop)', group: 'flow' },
  map: { icon: DocumentCopy, colour: 'var(--wf-loop)', group: 'flow' },
  wait: { icon: Timer, colour: 'var(--wf-wait)', group: 'flow' },
  http: { icon: Promotion, colour: 'var(--wf-step)', group: 'steps' },
  operation: { icon: Odometer, colour: 'var(--wf-step)', group: 'steps' },
  webhook: { icon: Link, colour: 'var(--wf-step)', group: 'steps' },
  script: { icon: CircleCheck, colour: 'var(--wf-step)', group: 'steps' },
  database: { icon: Coin, colour: 'var(--wf-step)', group: 'steps' },
  email: { icon: Message, colour: 'var(--wf-step)', group: 'steps' },
  agent: { icon: User, colour: 'var(--wf-step)', group: 'steps' },
  llm: { icon: ChatDotRound, colour: 'var(--wf-step)', group: 'steps' },
  mcp: { icon: Aim, colour: 'var(--wf-step)', group: 'steps' },
}
export const NODE_GROUPS: readonly NodeGroup[] = ['work', 'flow', 'steps']
