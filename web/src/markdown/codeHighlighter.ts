/** Decides when code is highlighted, and how much of it at once. */
import type { CodeLines } from './codeLines';

type Engine = typeof import('./highlight');

/** Code after so many characters stays plain: highlighting must not block the page. */
const MAX_CHARACTERS = 40_000;
/** So does code after such a line: it is generated, and may cost the square of its length. */
const LONG_LINE = /[^\n]{2000}/;
/** Growing code is highlighted while it is shorter than this and costs less than `BUDGET_MS`. */
const MAX_STREAMED = 8_000;
const BUDGET_MS = 8;
/** Complete code up to this length is highlighted before it is first rendered. */
const MAX_SYNCHRONOUS = 4_000;

let loading: Promise<Engine> | undefined;
let engine: Engine | undefined;
/** The pending work of all highlighters. */
const jobs = new Set<Promise<void>>();

/** Resolves when no highlighter has pending work. */
export async function highlighted(): Promise<void> {
  while (jobs.size > 0) await Promise.all(jobs);
}

function load(): Promise<Engine> {
  loading ??= import('./highlight').then(
    (module) => (engine = module),
    (error: unknown) => {
      // The server cannot be reached: the next block tries again.
      loading = undefined;
      throw error;
    },
  );
  return loading;
}

/** Highlights one code block. */
export class CodeHighlighter {
  #lines: CodeLines;
  /** Whether highlighting while the code grows takes too long. */
  #isExpensive = false;
  /** The number of the last call; the work of earlier calls is abandoned. */
  #job = 0;

  constructor(lines: CodeLines) {
    this.#lines = lines;
  }

  /**
   * Highlight the lines, now or when the browser is idle. The next call replaces this one.
   *
   * @param text - The text of the lines.
   * @param language - Its language; nothing is done if it is empty or unknown.
   * @param streaming - Whether more text may follow.
   */
  highlight(text: string, language: string, streaming: boolean): void {
    const job = (this.#job += 1);
    if (!language || (streaming && (this.#isExpensive || text.length > MAX_STREAMED))) return;
    const head = highlightable(text);
    if (engine && head.length <= (streaming ? MAX_STREAMED : MAX_SYNCHRONOUS)) {
      this.#highlightNow(engine, head, language);
      return;
    }
    const pending = load()
      .then((module) => this.#highlightWhenIdle(module, head, language, job))
      .catch(() => undefined)
      .finally(() => jobs.delete(pending));
    jobs.add(pending);
  }

  stop(): void {
    this.#job += 1;
  }

  #highlightNow(module: Engine, text: string, language: string): void {
    const started = performance.now();
    const html = module.highlight(text, language.toLowerCase());
    if (html !== undefined) for (const _ of this.#lines.paint(html));
    this.#isExpensive ||= performance.now() - started > BUDGET_MS;
  }

  async #highlightWhenIdle(
    module: Engine,
    text: string,
    language: string,
    job: number,
  ): Promise<void> {
    await idle();
    if (job !== this.#job) return;
    const html = module.highlight(text, language.toLowerCase());
    if (html === undefined) return;
    let started = performance.now();
    for (const _ of this.#lines.paint(html)) {
      if (performance.now() - started <= BUDGET_MS) continue;
      await idle();
      if (job !== this.#job) return;
      started = performance.now();
    }
  }
}

/** The complete lines at the beginning of a text that are highlighted. */
function highlightable(text: string): string {
  const long = LONG_LINE.exec(text)?.index ?? text.length;
  const end = Math.min(long, MAX_CHARACTERS);
  return end === text.length ? text : text.slice(0, text.lastIndexOf('\n', end) + 1);
}

function idle(): Promise<void> {
  return new Promise((resolve) => {
    // Safari has no idle callbacks.
    if ('requestIdleCallback' in window) requestIdleCallback(() => resolve(), { timeout: 500 });
    else setTimeout(resolve, 30);
  });
}
