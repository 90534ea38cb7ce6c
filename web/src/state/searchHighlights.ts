/** Words in a message that were looked for, marked without changing the document. */

/** The name by which the stylesheet has them (CSS Custom Highlight API). */
const NAME = 'found';

export class Marks {
  private readonly observer = new MutationObserver(() => this.draw());
  private element: HTMLElement | null = null;
  private words: readonly string[] = [];

  /** Mark the words, in any case, wherever they are in the element. Returns the first of them. */
  show(element: HTMLElement, words: readonly string[]): Range | undefined {
    this.clear();
    this.element = element;
    this.words = words.map((word) => word.toLowerCase()).filter((word) => word !== '');
    // Code gets its colours later: its text is then in other nodes.
    this.observer.observe(element, { childList: true, subtree: true });
    return this.draw();
  }

  clear(): void {
    this.observer.disconnect();
    if ('highlights' in CSS) CSS.highlights.delete(NAME);
  }

  private draw(): Range | undefined {
    if (this.element === null || this.words.length === 0) return undefined;
    const ranges = [...occurrences(this.element, this.words)];
    if ('highlights' in CSS) CSS.highlights.set(NAME, new Highlight(...ranges));
    return ranges[0];
  }
}

function* occurrences(element: HTMLElement, words: readonly string[]): Generator<Range> {
  const texts = document.createTreeWalker(
    element.querySelector('article') ?? element,
    NodeFilter.SHOW_TEXT,
  );
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const text = node.nodeValue?.toLowerCase() ?? '';
    // Lower case may be longer, in a few languages; positions would be wrong then.
    if (text.length !== node.nodeValue?.length) continue;
    for (const word of words) {
      for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) {
        const range = new Range();
        range.setStart(node, at);
        range.setEnd(node, at + word.length);
        yield range;
      }
    }
  }
}
