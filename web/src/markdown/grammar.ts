/** Markdown to tokens: marked with formulas and footnotes, and with limits on the cost of parsing. */
import { Lexer, Marked, type Links, type Token, type Tokens } from 'marked';
import { noLinks, type Definitions } from './definitions';
import { note, reference } from './footnotes';
import { Guard } from './guard';
import { formula, formulaBlock } from './maths';

/** A longer paragraph, heading or cell is shown as plain text. */
const INLINE_LIMIT = 20_000;
/** So is a text with such a word: marked tries to find an e-mail address at each of its letters. */
const LONG_WORD = /[\w.!#$%&'*+/=?^`{|}~-]{4000}/;

/** The number of footnotes in one message; further ones remain text. */
const MAX_NOTES = 500;

const marked = new Marked({ gfm: true });
marked.use({
  extensions: [formulaBlock, formula, note, reference],
  // `Block.svelte` renders checkboxes, so that the sanitiser need not allow inputs.
  renderer: { checkbox: () => '' },
});

/** The blocks of a text, without their inline content. Adds their definitions to `definitions`. */
export function outline(text: string, definitions: Definitions): Token[] {
  try {
    const { links, notes, size } = definitions;
    const guard = new Guard(text, notes, true, MAX_NOTES - size);
    const tokens = lexer(links, guard).blockTokens(text);
    definitions.add(tokens);
    return tokens;
  } catch {
    return [literal(text)];
  }
}

/**
 * The tokens of one block, with their inline content.
 *
 * @param raw - The Markdown of the block.
 * @param definitions - The definitions of the message.
 * @param streaming - Whether more definitions may follow.
 */
export function parse(raw: string, definitions: Definitions, streaming: boolean): Token[] {
  try {
    return parseOrThrow(raw, definitions, streaming);
  } catch {
    return [literal(raw)];
  }
}

function parseOrThrow(raw: string, definitions: Definitions, streaming: boolean): Token[] {
  const links = Object.assign(noLinks(), definitions.links);
  const reader = lexer(links, new Guard(raw, definitions.notes, streaming, 0));
  const tokens = reader.blockTokens(raw);
  for (const { src, tokens: inner } of reader.inlineQueue) {
    reader.state.inRawBlock = false;
    if (isTooExpensive(src)) inner.push({ type: 'text', raw: src, text: src });
    else reader.inlineTokens(src, inner);
  }
  return tokens;
}

function isTooExpensive(src: string): boolean {
  if (src.length > INLINE_LIMIT) return true;
  // Inline images are long words too, but marked parses each of them at once.
  return LONG_WORD.test(src.replace(/\]\([^()\s]*\)/g, ''));
}

/** The text as it is, for input on which marked fails, such as an endless loop that it detects. */
function literal(raw: string): Tokens.Paragraph {
  return { type: 'paragraph', raw, text: raw, tokens: [{ type: 'text', raw, text: raw }] };
}

/** Unsanitised HTML of blocks that are neither lists nor quotes nor code. */
export function html(tokens: Token[]): string {
  return marked.parser(tokens);
}

function lexer(links: Links, tokenizer: Guard): Lexer {
  const result = new Lexer({ ...marked.defaults, tokenizer });
  result.tokens.links = links;
  return result;
}
