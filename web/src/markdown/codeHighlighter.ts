/** When code is coloured, and how much of it at once. */
import type { Source } from './codeLines';

type Engine = typeof import('./highlight');

/** What comes after so many characters stays plain: colours are not worth a page that stops. */
const LONGEST = 40_000;
/** So does what comes after such a line: no one wrote it, and it may cost the square of its length. */
const LONG_LINE = /[^\n]{2000}/;
/** Code that still grows is coloured while it is shorter than this, */
const LONGEST_GROWING = 8_000;
/** and while that costs less than this. */
const BUDGET_MS = 8;
/** Closed code up to this length is coloured before it is first drawn. */
const AT_ONCE = 4_000;

let engine: Promise<Engine> | undefined;
let loaded: Engine | undefined;
/** What is still to be coloured. */
const jobs = new Set<Promise<void>>();

/** Resolves when everything is coloured that was to be. */
export async function painted(): Promise<void> {
  while (jobs.size > 0) await Promise.all(jobs);
}

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
    if (!language || (growing && (this.#dear || text.length > LONGEST_GROWING))) return;
    const head = beginning(text);
    if (loaded && head.length <= (growing ? LONGEST_GROWING : AT_ONCE)) {
      this.#paintNow(loaded, head, language);
      return;
    }
    const painting = load()
      .then((module) => this.#paintSlowly(module, head, language, job))
      .catch(() => undefined)
      .finally(() => jobs.delete(painting));
    jobs.add(painting);
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

  async #paintSlowly(module: Engine, text: string, language: string, job: number): Promise<void> {
    await idle();
    if (job !== this.#job) return;
    const html = module.highlight(text, language.toLowerCase());
    if (html === undefined) return;
    let began = performance.now();
    for (const _ of this.#source.paint(html)) {
      if (performance.now() - began <= BUDGET_MS) continue;
      await idle();
      if (job !== this.#job) return;
      began = performance.now();
    }
  }
}

/** The whole lines of `text` that may be coloured. */
function beginning(text: string): string {
  const long = LONG_LINE.exec(text)?.index ?? text.length;
  const end = Math.min(long, LONGEST);
  return end === text.length ? text : text.slice(0, text.lastIndexOf('\n', end) + 1);
}

function idle(): Promise<void> {
  return new Promise((resolve) => {
    // Safari has no idle callbacks.
    if ('requestIdleCallback' in window) requestIdleCallback(() => resolve(), { timeout: 500 });
    else setTimeout(resolve, 30);
  });
}
