/** Limits on what Markdown may cost to read, and what its extensions must know while they read. */
import { Tokenizer, type Lexer, type Tokens } from 'marked';
import { beginsDetails, detailsAt } from './details';
import { escape } from './escape';

/** What is nested deeper is text: each level reads its contents once more, on the same stack. */
const DEEPEST = 12;
/** So many letters of one block are searched for the ends of emphasis; what comes later has none. */
const SEARCH_LIMIT = 6_000_000;

export class Guard extends Tokenizer {
  /** How many lists, quotes and the like the text that is read now stands in. */
  depth = 0;
  /** Whether anything in the text looks like a footnote. */
  readonly mayHaveNotes: boolean;
  #searched = 0;

  /** Reads `text` with the footnotes that the message has; `growing` if others may follow.
   * It may define `room` more itself. */
  constructor(
    text: string,
    readonly notes: ReadonlyMap<string, number>,
    readonly growing: boolean,
    public room: number,
  ) {
    super();
    this.mayHaveNotes = text.includes('[^');
  }

  override blockquote(src: string): Tokens.Blockquote | undefined {
    return this.deeper(() => super.blockquote(src));
  }

  override list(src: string): Tokens.List | undefined {
    return this.deeper(() => super.list(src));
  }

  override html(src: string): Tokens.HTML | undefined {
    if (!beginsDetails(src)) return super.html(src);
    const details = this.deeper(() => detailsAt(src, this.lexer));
    if (details) return details;
    const text = `<p>${escape(src)}</p>`;
    return { type: 'html', raw: src, text, pre: false, block: true };
  }

  override emStrong(
    src: string,
    masked: string,
    before?: string,
  ): Tokens.Em | Tokens.Strong | undefined {
    if (!/^[*_]/.test(src) || this.#isTired(masked)) return undefined;
    return this.deeper(() => super.emStrong(src, masked, before));
  }

  override del(src: string, masked: string, before?: string): Tokens.Del | undefined {
    if (!src.startsWith('~') || this.#isTired(masked)) return undefined;
    return this.deeper(() => super.del(src, masked, before));
  }

  override link(src: string): Tokens.Link | Tokens.Image | undefined {
    return this.deeper(() => super.link(src));
  }

  /** A footnote's text would vanish as the target of a link. */
  override def(src: string): Tokens.Def | undefined {
    return /^ {0,3}\[\^/.test(src) ? undefined : super.def(src);
  }

  deeper<T>(read: () => T): T | undefined {
    if (this.depth >= DEEPEST) return undefined;
    this.depth += 1;
    try {
      return read();
    } finally {
      this.depth -= 1;
    }
  }

  #isTired(searched: string): boolean {
    this.#searched += searched.length;
    return this.#searched > SEARCH_LIMIT;
  }
}

/** The guard of a lexer that `grammar.ts` made. */
export function guardOf(lexer: Lexer): Guard {
  const { tokenizer } = lexer.options;
  if (!(tokenizer instanceof Guard)) throw new TypeError('This lexer has no guard.');
  return tokenizer;
}
