/**
 * The test environment: the few parts of a browser that the page's state needs and Node lacks. Fetch,
 * streams, signals and files are Node's own, which follow the same standards as a browser's.
 */

import type { Environment } from 'vitest/runtime';

class MemoryStorage implements Pick<Storage, 'getItem' | 'setItem' | 'removeItem' | 'clear'> {
  readonly #items = new Map<string, string>();

  getItem(name: string): string | null {
    return this.#items.get(name) ?? null;
  }
  setItem(name: string, value: string): void {
    this.#items.set(name, value);
  }
  removeItem(name: string): void {
    this.#items.delete(name);
  }
  clear(): void {
    this.#items.clear();
  }
}

class PageDocument extends EventTarget {
  readonly baseURI = 'http://chatkeep.test/';
  readonly documentElement = { dataset: {}, lang: 'en' };
  hidden = false;
}

const environment: Environment = {
  name: 'page',
  // Compile Svelte for browsers.
  viteEnvironment: 'client',
  setup(global) {
    const events = new EventTarget();
    const globals = {
      window: global,
      document: new PageDocument(),
      location: { hash: '' },
      sessionStorage: new MemoryStorage(),
      localStorage: new MemoryStorage(),
      addEventListener: events.addEventListener.bind(events),
      removeEventListener: events.removeEventListener.bind(events),
      dispatchEvent: events.dispatchEvent.bind(events),
      requestAnimationFrame: (draw: () => void) => setTimeout(draw),
      matchMedia: () => ({ matches: false }),
    };
    Object.assign(global, globals);
    return {
      teardown() {
        for (const name of Object.keys(globals)) delete global[name];
      },
    };
  },
};

export default environment;
