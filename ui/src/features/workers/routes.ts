import { Cpu } from '@element-plus/icons-vue'
import { kinds } from '@/api'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/workers', name: 'workers', component: () => import('./WorkersPage.vue'), meta: { title: 'workers.title' } },
    { path: '/workers/:namespace/:name', name: 'worker', component: () => import('./WorkerPage.vue'), meta: { title: 'workers.title' } },
  ],
  nav: [{ group: 'automation', order: 60, label: 'workers.title', icon: Cpu, route: 'workers', kind: kinds.Worker }],
  pages: { Worker: { list: 'workers', detail: 'worker' } },
})
