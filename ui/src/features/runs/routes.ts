import { VideoPlay } from '@element-plus/icons-vue'
import { kinds } from '@/api'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/runs', name: 'runs', component: () => import('./RunsPage.vue'), meta: { title: 'runs.title' } },
    { path: '/runs/:namespace/:name', name: 'run', component: () => import('./RunPage.vue'), meta: { title: 'runs.title' } },
  ],
  nav: [{ group: 'automation', order: 20, label: 'runs.title', icon: VideoPlay, route: 'runs', kind: kinds.WorkflowRun }],
  pages: { WorkflowRun: { list: 'runs', detail: 'run' } },
})
