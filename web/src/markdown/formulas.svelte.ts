/** Renders formulas as MathML, with an engine that is loaded when it is first needed. */
import { FORMULA_LIMIT } from './maths';
import { sanitise } from './sanitise';

type Engine = typeof import('./typeset');

/** The size of the cache: a growing reply renders the same formula hundreds of times. */
const CACHE_SIZE = 300;

class Formulas {
  #engine: Engine | undefined = $state.raw();
  #loading: Promise<void> | undefined;
  #cache = new Map<string, Element | undefined>();

  /** Replace the source of each formula. Until the engine is loaded, and on errors, it stays. */
  typeset(fragment: DocumentFragment): void {
    const sources = fragment.querySelectorAll('code.md-math');
    if (sources.length === 0) return;
    if (!this.#engine) {
      this.#load();
      return;
    }
    for (const source of sources) {
      const maths = this.#render(source.textContent ?? '', source.classList.contains('md-display'));
      if (maths) source.replaceWith(maths.cloneNode(true));
    }
  }

  #render(source: string, display: boolean): Element | undefined {
    const key = `${display ? 'd' : 'i'}${source}`;
    if (this.#cache.has(key)) return this.#cache.get(key);
    if (this.#cache.size >= CACHE_SIZE) this.#cache.clear();
    const html = source.length > FORMULA_LIMIT ? undefined : this.#engine?.mathml(source, display);
    const maths = html === undefined ? undefined : sanitise(html, 'maths').querySelector('math');
    this.#cache.set(key, maths ?? undefined);
    return maths ?? undefined;
  }

  /** Resolves when the engine is not being loaded any more. */
  async settled(): Promise<void> {
    await this.#loading;
  }

  #load(): void {
    this.#loading ??= import('./typeset').then(
      (engine) => {
        this.#engine = engine;
      },
      () => {
        // Without the server the sources stay, which are readable. The next formula tries again.
        this.#loading = undefined;
      },
    );
  }
}

export const formulas = new Formulas();
