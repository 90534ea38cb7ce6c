/** Finds formulas in Markdown. `formulas.svelte.ts` renders them. */
import type { TokenizerAndRendererExtension, Tokens } from 'marked';
import { escape } from './escape';

/** Longer sources remain text: no formula is that long, but an attack may be. */
export const FORMULA_LIMIT = 10_000;
/** Inline formulas are shorter. Their end is searched within this distance. */
const INLINE_LIMIT = 1_000;

/** `$x$`: no space inside the dollars, no letter or digit after them, so "$5 and $10" is text. */
const DOLLARS = /^\$(?![\s$])((?:\\[^\n]|[^\\$\n]|\n(?!\s*\n)){1,1000}?)(?<!\s)\$(?![\w$])/;
/** How far a paragraph is searched: it is searched again for each of its blocks. */
const LONGEST_PARAGRAPH = 20_000;
const BLOCK_START = /\n {0,3}(?:\$\$|\\\[)/g;
/** After so many openings without an end, the rest of a paragraph is not searched. */
const MAX_TRIES = 10;

/** The source as code, with the class by which `formulas.svelte.ts` finds it. */
function render(token: Tokens.Generic): string {
  const className = token.display ? 'md-math md-display' : 'md-math';
  const code = `<code class="${className}">${escape(token.text)}</code>`;
  return token.type === 'formulaBlock' ? `<p>${code}</p>` : code;
}

/** The formula at the start of `src` between `open` and `close`; it has no blank line. */
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
  const formula =
    between(rest, '$$', '$$', FORMULA_LIMIT) ?? between(rest, '\\[', '\\]', FORMULA_LIMIT);
  const tail = formula && /^[ \t]*(?:\n|$)/.exec(rest.slice(formula.raw.length))?.[0];
  if (!formula || tail === undefined) return undefined;
  const raw = margin + formula.raw + tail;
  return { type: 'formulaBlock', raw, text: formula.text, display: true };
}

export const formulaBlock: TokenizerAndRendererExtension = {
  name: 'formulaBlock',
  level: 'block',
  start(src) {
    // Only in this paragraph and only real formulas: a paragraph that is split is parsed again.
    const start = src.slice(0, LONGEST_PARAGRAPH);
    const end = start.indexOf('\n\n');
    const paragraph = end < 0 ? start : start.slice(0, end);
    let tries = MAX_TRIES;
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
