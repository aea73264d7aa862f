import { Bell } from '@element-plus/icons-vue'
import { kinds } from '@/api/kinds'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [{ path: '/events', name: 'events', component: () => import('./EventsPage.vue'), meta: { title: 'events.title' } }],
  nav: [{ group: 'system', order: 10, label: 'events.title', icon: Bell, route: 'events', kind: kinds.Event }],
  pages: { Event: { list: 'events' } },
})
