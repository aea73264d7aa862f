import { Files } from '@element-plus/icons-vue'
import { kinds } from '@/api/kinds'
import { defineFeature } from '@/app/feature'

// `/artifacts/` itself is where older programs fetch packages.
export default defineFeature({
  routes: [
    { path: '/packages', name: 'artifacts', component: () => import('./ArtifactsPage.vue'), meta: { title: 'artifacts.title' } },
    { path: '/packages/:namespace/:name', name: 'artifact', component: () => import('./ArtifactPage.vue'), props: true, meta: { title: 'artifacts.title' } },
  ],
  nav: [{ group: 'applications', order: 30, label: 'artifacts.title', icon: Files, route: 'artifacts', kind: kinds.Artifact }],
  pages: { Artifact: { list: 'artifacts', detail: 'artifact' } },
})
