/** Turns the formulas of a fragment into MathML, by an engine that is loaded when it is first needed. */
import { FORMULA_LIMIT } from './maths';
import { sanitise } from './sanitise';

type Engine = typeof import('./typeset');

/** An answer that grows shows the same formula hundreds of times. */
const REMEMBERED = 300;

class Formulas {
  #engine: Engine | undefined = $state.raw();
  #loading: Promise<void> | undefined;
  #drawn = new Map<string, Element | undefined>();

  /** Replaces each formula's source; until the engine is there, and after an error, it stays. */
  typeset(fragment: DocumentFragment): void {
    const sources = fragment.querySelectorAll('code.md-math');
    if (sources.length === 0) return;
    if (!this.#engine) {
      this.#load();
      return;
    }
    for (const source of sources) {
      const maths = this.#draw(source.textContent ?? '', source.classList.contains('md-display'));
      if (maths) source.replaceWith(maths.cloneNode(true));
    }
  }

  #draw(source: string, display: boolean): Element | undefined {
    const key = `${display ? 'd' : 'i'}${source}`;
    if (this.#drawn.has(key)) return this.#drawn.get(key);
    if (this.#drawn.size >= REMEMBERED) this.#drawn.clear();
    const html = source.length > FORMULA_LIMIT ? undefined : this.#engine?.mathml(source, display);
    const maths = html === undefined ? undefined : sanitise(html, 'maths').querySelector('math');
    this.#drawn.set(key, maths ?? undefined);
    return maths ?? undefined;
  }

  /** Resolves when the engine is there if a formula wanted it, or cannot be had. */
  async settled(): Promise<void> {
    await this.#loading;
  }

  #load(): void {
    this.#loading ??= import('./typeset').then(
      (engine) => {
        this.#engine = engine;
      },
      () => {
        // The server is away: the source is readable, and the next formula tries again.
        this.#loading = undefined;
      },
    );
  }
}

export const formulas = new Formulas();
