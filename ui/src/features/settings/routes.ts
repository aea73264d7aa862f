import { Setting } from '@element-plus/icons-vue'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [{ path: '/settings', name: 'settings', component: () => import('./SettingsPage.vue'), meta: { title: 'settings.title' } }],
  nav: [{ group: 'system', order: 40, label: 'settings.title', icon: Setting, route: 'settings' }],
})
