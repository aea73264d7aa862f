import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [{ path: '/login', name: 'login', component: () => import('./LoginPage.vue'), meta: { title: 'login.title', bare: true } }],
})
