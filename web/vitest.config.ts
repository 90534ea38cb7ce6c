import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [svelte()],
  // Svelte has another runtime for servers, without reactivity.
  resolve: { conditions: ['browser'] },
  test: {
    environment: './tests/environment.ts',
    // A time zone with days of 23 and 25 hours.
    env: { TZ: 'Europe/Berlin' },
    include: ['tests/**/*.test.ts'],
    setupFiles: ['./tests/setup.ts'],
    server: { deps: { inline: ['svelte'] } },
  },
});
