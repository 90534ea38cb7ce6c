/** Markdown to tokens: marked with our formulas and footnotes, and with limits on what it may cost. */
import { Lexer, Marked, type Links, type Token, type Tokens } from 'marked';
import { noLinks, type Definitions } from './definitions';
import { note, reference } from './footnotes';
import { Guard } from './guard';
import { formula, formulaBlock } from './maths';

/** One paragraph, heading or cell that is longer is shown as it is, */
const INLINE_LIMIT = 20_000;
/** As text is shown too what holds such a word: at each of its letters an address of mail may begin. */
const LONG_WORD = /[\w.!#$%&'*+/=?^`{|}~-]{4000}/;

/** Footnotes of one message; what comes after so many stays text. */
const MOST_NOTES = 500;

const marked = new Marked({ gfm: true });
marked.use({
  extensions: [formulaBlock, formula, note, reference],
  // A list draws its own boxes, so that no input has to pass the sanitiser.
  renderer: { checkbox: () => '' },
});

/** The blocks of `text` without what is inside them. Adds what they define to `definitions`. */
export function outline(text: string, definitions: Definitions): Token[] {
  try {
    const { links, notes, size } = definitions;
    const guard = new Guard(text, notes, true, MOST_NOTES - size);
    const tokens = lexer(links, guard).blockTokens(text);
    definitions.add(tokens);
    return tokens;
  } catch {
    return [literal(text)];
  }
}

/** One block of the outline, whole, with what the message defines; `growing` if that may be more. */
export function parse(raw: string, definitions: Definitions, growing: boolean): Token[] {
  try {
    return parseOrThrow(raw, definitions, growing);
  } catch {
    return [literal(raw)];
  }
}

function parseOrThrow(raw: string, definitions: Definitions, growing: boolean): Token[] {
  const links = Object.assign(noLinks(), definitions.links);
  const reader = lexer(links, new Guard(raw, definitions.notes, growing, 0));
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

function lexer(links: Links, tokenizer: Guard): Lexer {
  const reader = new Lexer({ ...marked.defaults, tokenizer });
  reader.tokens.links = links;
  return reader;
}
