import { Cpu } from '@element-plus/icons-vue'
import { kinds } from '@/api/kinds'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/instances', name: 'instances', component: () => import('./InstancesPage.vue'), meta: { title: 'instances.title' } },
    { path: '/instances/:namespace/:name', name: 'instance', component: () => import('./InstancePage.vue'), props: true, meta: { title: 'instances.title' } },
  ],
  nav: [{ group: 'applications', order: 20, label: 'instances.title', icon: Cpu, route: 'instances', kind: kinds.Instance }],
  pages: { Instance: { list: 'instances', detail: 'instance' } },
})
