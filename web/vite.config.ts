import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const server = process.env.CHATKEEP_URL ?? 'http://127.0.0.1:8000';
const paths = [
  '/chat',
  '/sessions',
  '/history',
  '/turns',
  '/messages',
  '/search',
  '/export',
  '/me',
];

export default defineConfig({
  plugins: [svelte()],
  // Relative, so that the page works below any path that a proxy adds.
  base: './',
  server: {
    proxy: Object.fromEntries(
      [...paths, '/import', '/events', '/models', '/usage', '/login', '/logout'].map((path) => [
        path,
        server,
      ]),
    ),
  },
  build: {
    outDir: '../src/chatkeep/page',
    emptyOutDir: true,
    // The first with light-dark() in CSS and AbortSignal.any(): browsers since May 2024.
    target: ['chrome123', 'firefox124', 'safari17.5'],
    assetsInlineLimit: 0,
    // It would add an inline script, and every browser of the target supports preloading.
    modulePreload: { polyfill: false },
    rolldownOptions: {
      output: {
        // Stable names keep the history of the built files readable.
        entryFileNames: 'assets/[name].js',
        chunkFileNames: 'assets/[name].js',
        assetFileNames: 'assets/[name][extname]',
      },
    },
  },
});
