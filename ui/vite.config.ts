/// <reference types="vitest/config" />
import { fileURLToPath, URL } from 'node:url'
import vue from '@vitejs/plugin-vue'
import elementPlus from 'unplugin-element-plus/vite'
import { defineConfig } from 'vite'

/** The controller that the dev server passes requests of the API to. */
const server = process.env.PLUM_SERVER ?? 'http://127.0.0.1:8080'
/** Everything that is the controller's and not a page of the UI. `/v1` and what follows it are the classic surface. */
const API_ROUTES = '^/(api|apis|openapi|v1|session|login|logout|livez|readyz|healthz|version|metrics|docs|devices|hooks|kv)(/|\\?|$)'

const FLEET = /\/src\/features\/(instances|deployments|nodes)\/(model|look|quantities|types|usage|useUsage|blocks|rollout|trouble|InstanceTable|Standing\w+|BlockGrid|RolloutTag)\.(ts|vue)(\?|$)/

export default defineConfig({
  plugins: [vue(), elementPlus({ format: 'esm' })],
  resolve: { alias: { '@': fileURLToPath(new URL('./src', import.meta.url)) } },
  // The content security policy allows no eval: messages are compiled by hand-written code, templates at build time.
  define: {
    __VUE_OPTIONS_API__: 'true',
    __VUE_PROD_DEVTOOLS__: 'false',
    __VUE_I18N_FULL_INSTALL__: 'false',
    __VUE_I18N_LEGACY_API__: 'false',
    __INTLIFY_JIT_COMPILATION__: 'true',
    __INTLIFY_DROP_MESSAGE_COMPILER__: 'false',
  },
  build: {
    outDir: '../controller/plum_controller/ui_dist',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    manifest: true,
    // All styles are one small file: nobody waits for a page's own when its script is there.
    cssCodeSplit: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 2000,
    modulePreload: { polyfill: false },
    rollupOptions: {
      output: {
        manualChunks(id: string) {
          // One file per language instead of one per feature and language.
          const locale = /\/locales\/(en|zh)\.ts$/.exec(id)
          if (locale) return `locale-${locale[1]}`
          if (/node_modules\/(vue|@vue|vue-router|vue-i18n|@intlify)\//.test(id)) return 'vue'
          // What nearly every page is made of, and what those of the fleet share: one file each, where it were dozens of a few lines.
          if (/\/src\/(api|components)\/[^/]+\.(ts|vue)(\?|$)|node_modules\/@tanstack\//.test(id)) return 'core'
          if (FLEET.test(id)) return 'fleet'
          return undefined
        },
      },
    },
  },
  server: { port: 5171, proxy: { [API_ROUTES]: { target: server, changeOrigin: false, ws: true } } },
  preview: { port: 5171, proxy: { [API_ROUTES]: { target: server, changeOrigin: false, ws: true } } },
  test: { environment: 'jsdom', include: ['src/**/*.test.ts'], testTimeout: 20_000, isolate: false, server: { deps: { inline: ['element-plus'] } } },
})
