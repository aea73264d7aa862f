import { Box, Plus } from '@element-plus/icons-vue'
import { kinds } from '@/api/kinds'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/deployments', name: 'deployments', component: () => import('./DeploymentsPage.vue'), meta: { title: 'deployments.title' } },
    { path: '/deployments/new', name: 'deployment-new', component: () => import('./DeploymentFormPage.vue'), meta: { title: 'deployments.new' } },
    { path: '/deployments/:namespace/:name', name: 'deployment', component: () => import('./DeploymentPage.vue'), props: true, meta: { title: 'deployments.title' } },
    { path: '/deployments/:namespace/:name/edit', name: 'deployment-edit', component: () => import('./DeploymentFormPage.vue'), props: true, meta: { title: 'deployments.editTitle' } },
  ],
  nav: [{ group: 'applications', order: 10, label: 'deployments.title', icon: Box, route: 'deployments', kind: kinds.Deployment }],
  pages: { Deployment: { list: 'deployments', detail: 'deployment' } },
  commands: () => [
    {
      id: 'deployment-new', label: 'deployments.new', icon: Plus, keywords: 'create application 新建', permission: { verb: 'create', kind: kinds.Deployment },
      run: () => void import('@/app/router').then(({ router }) => router.push({ name: 'deployment-new' })),
    },
  ],
})
