import { Monitor } from '@element-plus/icons-vue'
import { kinds } from '@/api/kinds'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/nodes', name: 'nodes', component: () => import('./NodesPage.vue'), meta: { title: 'nodes.title' } },
    { path: '/nodes/:name', name: 'node', component: () => import('./NodePage.vue'), props: true, meta: { title: 'nodes.title' } },
  ],
  nav: [{ group: 'applications', order: 50, label: 'nodes.title', icon: Monitor, route: 'nodes', kind: kinds.Node }],
  pages: { Node: { list: 'nodes', detail: 'node' } },
})
