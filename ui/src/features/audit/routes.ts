import { Stamp } from '@element-plus/icons-vue'
import { defineFeature } from '@/app/feature'
import { AUDIT } from './records'

export default defineFeature({
  routes: [{ path: '/audit', name: 'audit', component: () => import('./AuditPage.vue'), meta: { title: 'audit.title' } }],
  nav: [{ group: 'system', order: 20, label: 'audit.title', icon: Stamp, route: 'audit', kind: AUDIT }],
})
