/** Where a formula begins and ends in Markdown. Knows nothing of how it looks. */
import type { TokenizerAndRendererExtension, Tokens } from 'marked';
import { escape } from './escape';

/** Longer sources stay text: no formula is that long, and an attack may be. */
export const FORMULA_LIMIT = 10_000;
/** Within a line of text they are shorter; so far the end of each beginning is looked for. */
const INLINE_LIMIT = 1_000;

/** `$x$`: nothing blank inside its dollars, no letter or digit after them, so "$5 and $10" is text. */
const DOLLARS = /^\$(?![\s$])((?:\\[^\n]|[^\\$\n]|\n(?!\s*\n)){1,1000}?)(?<!\s)\$(?![\w$])/;
/** A longer paragraph is shown as text, and would be looked through once more for each of its blocks. */
const LONGEST_PARAGRAPH = 20_000;
const BLOCK_START = /\n {0,3}(?:\$\$|\\\[)/g;
/** So many beginnings without an end in one paragraph, and it is no mathematics. */
const TRIES = 10;

/** The source as text, with the class by which the page finds what it should render. */
function render(token: Tokens.Generic): string {
  const looks = token.display ? 'md-math md-display' : 'md-math';
  const code = `<code class="${looks}">${escape(token.text)}</code>`;
  return token.type === 'formulaBlock' ? `<p>${code}</p>` : code;
}

/** The formula at the very start of `src` between `open` and `close`, with no blank line in it. */
function between(
  src: string,
  open: string,
  close: string,
  limit = INLINE_LIMIT,
): { raw: string; text: string } | undefined {
  if (!src.startsWith(open)) return undefined;
  const end = src.slice(0, limit).indexOf(close, open.length);
  const text = end < 0 ? '' : src.slice(open.length, end).trim();
  if (!text || /\n[ \t]*\n/.test(text)) return undefined;
  return { raw: src.slice(0, end + close.length), text };
}

function blockAt(src: string): Tokens.Generic | undefined {
  const margin = /^ {0,3}(?=\$\$|\\\[)/.exec(src)?.[0];
  if (margin === undefined) return undefined;
  const rest = src.slice(margin.length);
  const found =
    between(rest, '$$', '$$', FORMULA_LIMIT) ?? between(rest, '\\[', '\\]', FORMULA_LIMIT);
  const tail = found && /^[ \t]*(?:\n|$)/.exec(rest.slice(found.raw.length))?.[0];
  if (!found || tail === undefined) return undefined;
  return { type: 'formulaBlock', raw: margin + found.raw + tail, text: found.text, display: true };
}

export const formulaBlock: TokenizerAndRendererExtension = {
  name: 'formulaBlock',
  level: 'block',
  start(src) {
    // In this paragraph only, and only where one really begins: a paragraph cut for nothing is read again.
    const start = src.slice(0, LONGEST_PARAGRAPH);
    const end = start.indexOf('\n\n');
    const paragraph = end < 0 ? start : start.slice(0, end);
    let tries = TRIES;
    for (const match of paragraph.matchAll(BLOCK_START)) {
      if (blockAt(src.slice(match.index + 1, match.index + 1 + FORMULA_LIMIT)))
        return match.index + 1;
      if ((tries -= 1) === 0) break;
    }
    return undefined;
  },
  tokenizer: blockAt,
  renderer: render,
};

export const formula: TokenizerAndRendererExtension = {
  name: 'formula',
  level: 'inline',
  start(src) {
    const at = src.indexOf('$');
    return at < 0 ? undefined : at;
  },
  tokenizer(src) {
    const display = between(src, '$$', '$$') ?? between(src, '\\[', '\\]');
    if (display) return { type: 'formula', ...display, display: true };
    const inline = between(src, '\\(', '\\)');
    if (inline) return { type: 'formula', ...inline, display: false };
    const dollars = DOLLARS.exec(src);
    if (!dollars) return undefined;
    return { type: 'formula', raw: dollars[0], text: dollars[1], display: false };
  },
  renderer: render,
};
