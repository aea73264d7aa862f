import { Odometer } from '@element-plus/icons-vue'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [{ path: '/overview', name: 'overview', component: () => import('./OverviewPage.vue'), meta: { title: 'overview.title' } }],
  nav: [{ group: 'overview', order: 10, label: 'overview.title', icon: Odometer, route: 'overview' }],
})
