import { Odometer } from '@element-plus/icons-vue'
import { kinds } from '@/api'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/resources', name: 'resources', component: () => import('./ResourcesPage.vue'), meta: { title: 'resources.title' } },
    { path: '/resources/:namespace/:name', name: 'resource', component: () => import('./ResourcePage.vue'), meta: { title: 'resources.title' } },
    { path: '/operations', name: 'operations', component: () => import('./OperationsPage.vue'), meta: { title: 'resources.operations' } },
  ],
  nav: [
    { group: 'devices', order: 10, label: 'resources.title', icon: Odometer, route: 'resources', kind: kinds.Resource },
  ],
  pages: { Resource: { list: 'resources', detail: 'resource' }, Operation: { list: 'operations' } },
})
