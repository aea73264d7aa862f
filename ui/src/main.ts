import { createApp } from 'vue'
import 'element-plus/theme-chalk/base.css'
import 'element-plus/theme-chalk/dark/css-vars.css'
import './app/styles/tokens.css'
import './app/styles/base.css'
import App from './app/App.vue'
import { i18n, preferredLanguage, setLanguage } from './app/i18n'
import { reloadForNewBuild } from './app/newBuild'
import { installRoutes, preloadPage, router } from './app/router'
import { loadSession } from './app/session'
import { leadToSignIn } from './app/signIn'
import './app/theme'

async function begin(): Promise<void> {
  installRoutes()
  preloadPage()
  await Promise.all([setLanguage(preferredLanguage()), loadSession()])
  leadToSignIn(router)
  createApp(App).use(i18n).use(router).mount('#app')
}

reloadForNewBuild()
void begin()
