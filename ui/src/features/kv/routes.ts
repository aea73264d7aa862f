import { Coin } from '@element-plus/icons-vue'
import { kinds } from '@/api'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [{ path: '/kv', name: 'kv', component: () => import('./KvPage.vue'), meta: { title: 'kv.title' } }],
  nav: [{ group: 'data', order: 10, label: 'kv.title', icon: Coin, route: 'kv', kind: kinds.KV }],
  pages: { KV: { list: 'kv' } },
})
