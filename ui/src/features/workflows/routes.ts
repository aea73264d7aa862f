import { Share } from '@element-plus/icons-vue'
import { kinds } from '@/api'
import { defineFeature } from '@/app/feature'
import { router } from '@/app/router'

export default defineFeature({
  routes: [
    { path: '/workflows', name: 'workflows', component: () => import('./WorkflowsPage.vue'), meta: { title: 'workflows.title' } },
    { path: '/workflows/new', name: 'workflow-new', component: () => import('./NewWorkflowPage.vue'), meta: { title: 'workflows.newTitle' } },
    { path: '/workflows/:namespace/:name', name: 'workflow', component: () => import('./WorkflowPage.vue'), meta: { title: 'workflows.title' } },
  ],
  nav: [{ group: 'automation', order: 10, label: 'workflows.title', icon: Share, route: 'workflows', kind: kinds.Workflow }],
  pages: { Workflow: { list: 'workflows', detail: 'workflow' } },
  commands: () => [
    { id: 'workflow-new', label: 'workflows.newTitle', icon: Share, keywords: 'create workflow dag editor', permission: { verb: 'create', kind: kinds.Workflow }, run: () => void router.push({ name: 'workflow-new' }) },
  ],
})
