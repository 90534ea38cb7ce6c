/** Collapsible parts of a text: `<details>` elements with Markdown in them. */
import type { Lexer, Token, Tokens } from 'marked';

export interface Details extends Tokens.HTML {
  /** The content of `<summary>`; empty if there is none. */
  summary: Token[];
  tokens: Token[];
  /** Whether it has the attribute `open`. */
  open: boolean;
  /** Whether the closing tag has arrived. */
  closed: boolean;
}

const OPENING = /^ {0,3}<details(?:\s[^<>]*)?>/i;
const SUMMARY = /^\s*<summary(?:\s[^<>]*)?>([\s\S]*?)(?:<\/summary\s*>|(?=\n[ \t]*\n)|$)/i;
/** A fence, inline code, or a tag. In code there are no tags. */
const MARK =
  /^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}(?=[^`\n]*$)|~{3,})|`[^`\n]+`|<(\/?)details(?:\s[^<>]*)?>/gim;

export function isDetails(token: Token): token is Details {
  return token.type === 'html' && 'summary' in token;
}

export function beginsDetails(src: string): boolean {
  return OPENING.test(src);
}

/**
 * The element at the beginning of a text. Without a closing tag it extends to the end of the text.
 *
 * @param src - A text for which `beginsDetails` is true.
 * @param lexer - Parses the content.
 */
export function detailsAt(src: string, lexer: Lexer): Details {
  const opening = OPENING.exec(src)?.[0] ?? '';
  const end = endOf(src, opening.length);
  const inner = src.slice(opening.length, end?.from);
  const summary = SUMMARY.exec(inner);
  const raw = src.slice(0, end?.to);
  const { top } = lexer.state;
  lexer.state.top = true;
  const tokens = lexer.blockTokens(outdent(inner.slice(summary?.[0].length ?? 0)), []);
  lexer.state.top = top;
  return {
    type: 'html',
    raw,
    text: raw,
    pre: false,
    block: true,
    summary: lexer.inline(summary?.[1]?.trim() ?? ''),
    tokens,
    open: /\sopen[\s=>]/i.test(opening),
    closed: end !== undefined,
  };
}

/** The range of the closing tag that matches the opening one before `start`. */
function endOf(src: string, start: number): { from: number; to: number } | undefined {
  const marks = new RegExp(MARK);
  marks.lastIndex = start;
  let depth = 1;
  for (let mark = marks.exec(src); mark; mark = marks.exec(src)) {
    const [text, fence, slash] = mark;
    if (fence) {
      const closing = new RegExp(`\\n[ \\t>]*${fence}${fence.charAt(0)}*[ \\t]*(?=\\n|$)`, 'g');
      closing.lastIndex = marks.lastIndex;
      if (!closing.test(src)) return undefined;
      marks.lastIndex = closing.lastIndex;
    } else if (slash !== undefined) {
      depth += slash ? -1 : 1;
      if (depth > 0) continue;
      const tail = /^[ \t]*(?:\n|$)/.exec(src.slice(marks.lastIndex))?.[0].length ?? 0;
      return { from: mark.index, to: mark.index + text.length + tail };
    }
  }
  return undefined;
}

/** Remove the indentation that all lines share: in HTML it has no meaning. */
function outdent(text: string): string {
  let least = Infinity;
  for (const [margin] of text.matchAll(/^[ \t]*(?=\S)/gm)) least = Math.min(least, margin.length);
  if (least === 0 || least === Infinity) return text;
  return text.replace(new RegExp(`^[ \\t]{1,${least}}`, 'gm'), '');
}
