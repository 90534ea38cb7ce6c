/** Highlights of search terms in a message, which leave the document unchanged. */

/** The name of the highlight in the stylesheet (CSS Custom Highlight API). */
const NAME = 'search-match';

export class SearchHighlights {
  readonly #observer = new MutationObserver(() => this.#update());
  #element: HTMLElement | null = null;
  #terms: readonly string[] = [];

  /** Highlight the terms wherever they occur in the element, in any case. Returns the first match. */
  show(element: HTMLElement, terms: readonly string[]): Range | undefined {
    this.clear();
    this.#element = element;
    this.#terms = terms.map((term) => term.toLowerCase()).filter((term) => term !== '');
    // Code is coloured later, which replaces its text nodes.
    this.#observer.observe(element, { childList: true, subtree: true });
    return this.#update();
  }

  clear(): void {
    this.#observer.disconnect();
    if ('highlights' in CSS) CSS.highlights.delete(NAME);
  }

  #update(): Range | undefined {
    if (this.#element === null || this.#terms.length === 0) return undefined;
    const ranges = [...matches(this.#element, this.#terms)];
    if ('highlights' in CSS) CSS.highlights.set(NAME, new Highlight(...ranges));
    return ranges[0];
  }
}

function* matches(element: HTMLElement, terms: readonly string[]): Generator<Range> {
  const nodes = document.createTreeWalker(
    element.querySelector('article') ?? element,
    NodeFilter.SHOW_TEXT,
  );
  for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
    const text = node.nodeValue?.toLowerCase() ?? '';
    // In a few languages lower case is longer; the offsets would be wrong.
    if (text.length !== node.nodeValue?.length) continue;
    for (const term of terms) {
      for (let at = text.indexOf(term); at >= 0; at = text.indexOf(term, at + term.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + term.length);
        yield range;
      }
    }
  }
}
