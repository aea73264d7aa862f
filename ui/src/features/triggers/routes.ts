import { AlarmClock } from '@element-plus/icons-vue'
import { kinds } from '@/api'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/triggers', name: 'triggers', component: () => import('./TriggersPage.vue'), meta: { title: 'triggers.title' } },
    { path: '/triggers/:namespace/:name', name: 'trigger', component: () => import('./TriggerPage.vue'), meta: { title: 'triggers.title' } },
  ],
  nav: [{ group: 'automation', order: 30, label: 'triggers.title', icon: AlarmClock, route: 'triggers', kind: kinds.Trigger }],
  pages: { Trigger: { list: 'triggers', detail: 'trigger' } },
})
