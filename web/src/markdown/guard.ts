/** The tokenizer of marked with limits on its cost, and with what our extensions need to know. */
import { Tokenizer, type Lexer, type Tokens } from 'marked';
import { beginsDetails, detailsAt } from './details';
import { escape } from './escape';

/** Deeper nesting is shown as text: each level parses its content again, on the same stack. */
const MAX_DEPTH = 12;
/** How many letters of a block are searched for the ends of emphasis; after that there is none. */
const SEARCH_LIMIT = 6_000_000;

export class Guard extends Tokenizer {
  /** In how many lists, quotes and the like the current position is. */
  depth = 0;
  /** Whether the text may contain footnotes or references to them. */
  readonly mayHaveNotes: boolean;
  #searched = 0;

  /**
   * @param text - The text to tokenize.
   * @param notes - The numbers of the message's footnotes by their labels.
   * @param streaming - Whether more footnotes may follow.
   * @param notesLeft - How many footnotes the text may define.
   */
  constructor(
    text: string,
    readonly notes: ReadonlyMap<string, number>,
    readonly streaming: boolean,
    public notesLeft: number,
  ) {
    super();
    this.mayHaveNotes = text.includes('[^');
  }

  override blockquote(src: string): Tokens.Blockquote | undefined {
    return this.nested(() => super.blockquote(src));
  }

  override list(src: string): Tokens.List | undefined {
    return this.nested(() => super.list(src));
  }

  override html(src: string): Tokens.HTML | undefined {
    if (!beginsDetails(src)) return super.html(src);
    const details = this.nested(() => detailsAt(src, this.lexer));
    if (details) return details;
    const text = `<p>${escape(src)}</p>`;
    return { type: 'html', raw: src, text, pre: false, block: true };
  }

  override emStrong(
    src: string,
    masked: string,
    before?: string,
  ): Tokens.Em | Tokens.Strong | undefined {
    if (!/^[*_]/.test(src) || this.#isExhausted(masked)) return undefined;
    return this.nested(() => super.emStrong(src, masked, before));
  }

  override del(src: string, masked: string, before?: string): Tokens.Del | undefined {
    if (!src.startsWith('~') || this.#isExhausted(masked)) return undefined;
    return this.nested(() => super.del(src, masked, before));
  }

  override link(src: string): Tokens.Link | Tokens.Image | undefined {
    return this.nested(() => super.link(src));
  }

  /** Not for footnotes: their text would disappear as the address of a link. */
  override def(src: string): Tokens.Def | undefined {
    return /^ {0,3}\[\^/.test(src) ? undefined : super.def(src);
  }

  nested<T>(tokenize: () => T): T | undefined {
    if (this.depth >= MAX_DEPTH) return undefined;
    this.depth += 1;
    try {
      return tokenize();
    } finally {
      this.depth -= 1;
    }
  }

  #isExhausted(searched: string): boolean {
    this.#searched += searched.length;
    return this.#searched > SEARCH_LIMIT;
  }
}

/** The guard of a lexer from `grammar.ts`. */
export function guardOf(lexer: Lexer): Guard {
  const { tokenizer } = lexer.options;
  if (!(tokenizer instanceof Guard)) throw new TypeError('This lexer has no guard.');
  return tokenizer;
}
