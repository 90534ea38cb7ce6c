/** Markdown to tokens: marked with our formulas, and with limits on what it may cost. */
import { Lexer, Marked, Tokenizer, type Links, type Token, type Tokens } from 'marked';
import { formula, formulaBlock } from './maths';

/** What is nested deeper is text: each level reads its contents once more, on the same stack. */
const DEEPEST = 12;
/** One paragraph, heading or cell that is longer is shown as it is, */
const INLINE_LIMIT = 20_000;
/** So many letters of one block are searched for the ends of emphasis; what comes later has none. */
const SEARCH_LIMIT = 6_000_000;
/** As text is shown too what holds such a word: at each of its letters an address of mail may begin. */
const LONG_WORD = /[\w.!#$%&'*+/=?^`{|}~-]{4000}/;

class Guarded extends Tokenizer {
  #depth = 0;
  #searched = 0;

  override blockquote(src: string): Tokens.Blockquote | undefined {
    return this.#deeper(() => super.blockquote(src));
  }

  override list(src: string): Tokens.List | undefined {
    return this.#deeper(() => super.list(src));
  }

  override emStrong(
    src: string,
    masked: string,
    before?: string,
  ): Tokens.Em | Tokens.Strong | undefined {
    if (!/^[*_]/.test(src) || this.#isTired(masked)) return undefined;
    return this.#deeper(() => super.emStrong(src, masked, before));
  }

  override del(src: string, masked: string, before?: string): Tokens.Del | undefined {
    if (!src.startsWith('~') || this.#isTired(masked)) return undefined;
    return this.#deeper(() => super.del(src, masked, before));
  }

  override link(src: string): Tokens.Link | Tokens.Image | undefined {
    return this.#deeper(() => super.link(src));
  }

  /** A footnote's text would vanish as the target of a link. */
  override def(src: string): Tokens.Def | undefined {
    return /^ {0,3}\[\^/.test(src) ? undefined : super.def(src);
  }

  #isTired(searched: string): boolean {
    this.#searched += searched.length;
    return this.#searched > SEARCH_LIMIT;
  }

  #deeper<T>(read: () => T): T | undefined {
    if (this.#depth >= DEEPEST) return undefined;
    this.#depth += 1;
    try {
      return read();
    } finally {
      this.#depth -= 1;
    }
  }
}

const marked = new Marked({ gfm: true });
marked.use({
  extensions: [formulaBlock, formula],
  // A list draws its own boxes, so that no input has to pass the sanitiser.
  renderer: { checkbox: () => '' },
});

/** A table of links without a prototype: `[constructor]` is no link. */
export function noLinks(): Links {
  return Object.create(null) as Links;
}

/** The blocks of `text` without what is inside them. Adds the links it defines to `links`. */
export function outline(text: string, links: Links): Token[] {
  try {
    return lexer(links).blockTokens(text);
  } catch {
    return [literal(text)];
  }
}

/** One block of the outline, whole. `links` are those that the rest of the text defines. */
export function parse(raw: string, links: Links): Token[] {
  try {
    return parseOrThrow(raw, links);
  } catch {
    return [literal(raw)];
  }
}

function parseOrThrow(raw: string, links: Links): Token[] {
  const reader = lexer(Object.assign(noLinks(), links));
  const tokens = reader.blockTokens(raw);
  for (const { src, tokens: inner } of reader.inlineQueue) {
    reader.state.inRawBlock = false;
    if (tooDear(src)) inner.push({ type: 'text', raw: src, text: src });
    else reader.inlineTokens(src, inner);
  }
  return tokens;
}

function tooDear(src: string): boolean {
  if (src.length > INLINE_LIMIT) return true;
  // Pictures written in line are long words too, but read as one.
  return LONG_WORD.test(src.replace(/\]\([^()\s]*\)/g, ''));
}

/** What is shown where marked gives up, as it does with an error when it would not come to an end. */
function literal(raw: string): Tokens.Paragraph {
  return { type: 'paragraph', raw, text: raw, tokens: [{ type: 'text', raw, text: raw }] };
}

/** HTML, not yet sanitised, of blocks that are neither lists nor quotes nor code. */
export function html(tokens: Token[]): string {
  return marked.parser(tokens);
}

function lexer(links: Links): Lexer {
  const reader = new Lexer({ ...marked.defaults, tokenizer: new Guarded() });
  reader.tokens.links = links;
  return reader;
}
