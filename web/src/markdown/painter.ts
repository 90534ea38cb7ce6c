/** When code is coloured, and how much of it at once. */
import type { Source } from './source';

type Engine = typeof import('./highlight');

/** Longer code stays plain: colours are not worth a page that stops. */
const LONGEST = 60_000;
/** A line of this length was written by no one, and may cost the square of it. */
const LONG_LINE = /[^\n]{2000}/;
/** Code that still grows is coloured while it is shorter than this, */
const LONGEST_GROWING = 8_000;
/** and while that costs less than this. */
const BUDGET_MS = 8;
/** Closed code up to this length is coloured before it is first drawn. */
const AT_ONCE = 4_000;

let engine: Promise<Engine> | undefined;
let loaded: Engine | undefined;

function load(): Promise<Engine> {
  engine ??= import('./highlight').then(
    (module) => (loaded = module),
    (error: unknown) => {
      // The server is away: the next block tries again.
      engine = undefined;
      throw error;
    },
  );
  return engine;
}

export class Painter {
  #source: Source;
  #dear = false;
  #job = 0;

  constructor(source: Source) {
    this.#source = source;
  }

  /** Colours what `source` shows, now or when there is time. A later call takes the place of this one. */
  paint(text: string, language: string, growing: boolean): void {
    const job = (this.#job += 1);
    if (!language || text.length > (growing ? LONGEST_GROWING : LONGEST)) return;
    if ((growing && this.#dear) || LONG_LINE.test(text)) return;
    if (loaded && (growing || text.length <= AT_ONCE)) {
      this.#paintNow(loaded, text, language);
      return;
    }
    load().then(
      (module) => whenIdle(() => this.#paintSlowly(module, text, language, job)),
      () => undefined,
    );
  }

  stop(): void {
    this.#job += 1;
  }

  #paintNow(module: Engine, text: string, language: string): void {
    const began = performance.now();
    const html = module.highlight(text, language.toLowerCase());
    if (html !== undefined) for (const _ of this.#source.paint(html));
    this.#dear ||= performance.now() - began > BUDGET_MS;
  }

  #paintSlowly(module: Engine, text: string, language: string, job: number): void {
    if (job !== this.#job) return;
    const html = module.highlight(text, language.toLowerCase());
    if (html === undefined) return;
    const parts = this.#source.paint(html);
    const step = (): void => {
      const began = performance.now();
      while (job === this.#job && !parts.next().done) {
        if (performance.now() - began > BUDGET_MS) return whenIdle(step);
      }
    };
    step();
  }
}

function whenIdle(work: () => void): void {
  // Safari has no idle callbacks.
  if ('requestIdleCallback' in window) requestIdleCallback(work, { timeout: 500 });
  else setTimeout(work, 30);
}
