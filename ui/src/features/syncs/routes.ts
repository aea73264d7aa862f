import { Refresh } from '@element-plus/icons-vue'
import { kinds } from '@/api/kinds'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/syncs', name: 'syncs', component: () => import('./SyncsPage.vue'), meta: { title: 'syncs.title' } },
    { path: '/syncs/:namespace/:name', name: 'sync', component: () => import('./SyncPage.vue'), props: true, meta: { title: 'syncs.title' } },
  ],
  nav: [{ group: 'delivery', order: 10, label: 'syncs.title', icon: Refresh, route: 'syncs', kind: kinds.Sync }],
  pages: { Sync: { list: 'syncs', detail: 'sync' } },
})
