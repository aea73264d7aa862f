import { Cpu } from '@element-plus/icons-vue'
import { kinds } from '@/api'
import { defineFeature } from '@/app/feature'

export default defineFeature({
  routes: [
    { path: '/tasks', name: 'tasks', component: () => import('./TasksPage.vue'), meta: { title: 'tasks.title' } },
    { path: '/tasks/runs/:namespace/:name', name: 'taskrun', component: () => import('./TaskRunPage.vue'), meta: { title: 'tasks.title' } },
    { path: '/tasks/definitions/:namespace/:name', name: 'taskdefinition', component: () => import('./TaskDefinitionPage.vue'), meta: { title: 'tasks.title' } },
  ],
  nav: [{ group: 'automation', order: 40, label: 'tasks.title', icon: Cpu, route: 'tasks', kind: kinds.TaskRun }],
  pages: { TaskRun: { list: 'tasks', detail: 'taskrun' }, TaskDefinition: { list: 'tasks', detail: 'taskdefinition' } },
})
