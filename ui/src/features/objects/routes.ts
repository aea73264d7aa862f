import { DocumentAdd, Files } from '@element-plus/icons-vue'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/objects', name: 'objects', component: () => import('./KindsPage.vue'), meta: { title: 'objects.title' } },
    { path: '/create', name: 'create-from-yaml', component: () => import('./CreatePage.vue'), meta: { title: 'objects.createFromYaml' } },
    { path: '/objects/:group/:version/:plural', name: 'objects-of-kind', component: () => import('./KindPage.vue'), meta: { title: 'objects.title' } },
    { path: '/objects/:group/:version/:plural/:namespace/:name', name: 'object', component: () => import('./ObjectPage.vue'), meta: { title: 'objects.title' } },
  ],
  nav: [{ group: 'system', order: 90, label: 'objects.title', icon: Files, route: 'objects' }],
  commands: () => [
    {
      id: 'create-from-yaml', label: 'objects.createFromYaml', icon: DocumentAdd, keywords: 'apply manifest yaml new',
      run: () => void import('@/app/router').then(({ router }) => router.push({ name: 'create-from-yaml' })),
    },
  ],
})
