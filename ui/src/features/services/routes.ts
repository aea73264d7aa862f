import { Connection } from '@element-plus/icons-vue'
import { kinds } from '@/api/kinds'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/services', name: 'services', component: () => import('./ServicesPage.vue'), meta: { title: 'services.title' } },
    { path: '/services/:namespace/:name', name: 'service', component: () => import('./ServicePage.vue'), props: true, meta: { title: 'services.title' } },
  ],
  nav: [{ group: 'applications', order: 40, label: 'services.title', icon: Connection, route: 'services', kind: kinds.Service }],
  pages: { Service: { list: 'services', detail: 'service' } },
})
