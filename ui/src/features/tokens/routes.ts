import { Key, Plus } from '@element-plus/icons-vue'
import { kinds } from '@/api/kinds'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [{ path: '/tokens', name: 'tokens', component: () => import('./TokensPage.vue'), meta: { title: 'tokens.title' } }],
  nav: [{ group: 'system', order: 30, label: 'tokens.title', icon: Key, route: 'tokens', kind: kinds.Token }],
  pages: { Token: { list: 'tokens' } },
  commands: () => [
    {
      id: 'token-new', label: 'tokens.create', icon: Plus, keywords: 'access login 令牌', permission: { verb: 'create', kind: kinds.Token },
      run: () => void import('@/app/router').then(({ router }) => router.push({ name: 'tokens', query: { new: '1' } })),
    },
  ],
})
