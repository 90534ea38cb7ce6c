/** A part of a text that opens and closes: `<details>` with Markdown in it, as far as its end. */
import type { Lexer, Token, Tokens } from 'marked';

export interface Details extends Tokens.HTML {
  /** What stands beside the arrow; nothing if the text has no `<summary>`. */
  summary: Token[];
  tokens: Token[];
  /** Whether the text wants it to be open at first. */
  open: boolean;
  /** Whether its end is there. */
  closed: boolean;
}

const OPENING = /^ {0,3}<details(?:\s[^<>]*)?>/i;
const SUMMARY = /^\s*<summary(?:\s[^<>]*)?>([\s\S]*?)(?:<\/summary\s*>|(?=\n[ \t]*\n)|$)/i;
/** A fence, code in a line, or a tag. What looks like a tag in code is none. */
const MARK =
  /^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}(?=[^`\n]*$)|~{3,})|`[^`\n]+`|<(\/?)details(?:\s[^<>]*)?>/gim;

export function isDetails(token: Token): token is Details {
  return token.type === 'html' && 'summary' in token;
}

export function beginsDetails(src: string): boolean {
  return OPENING.test(src);
}

/** The part that `src` begins with. One without an end goes on to the end of the text. */
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

/** Where the closing tag begins and ends that belongs to the opening one before `start`. */
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

/** Lines without the blanks that all of them begin with: HTML is indented, and that means nothing. */
function outdent(text: string): string {
  let least = Infinity;
  for (const [margin] of text.matchAll(/^[ \t]*(?=\S)/gm)) least = Math.min(least, margin.length);
  if (least === 0 || least === Infinity) return text;
  return text.replace(new RegExp(`^[ \\t]{1,${least}}`, 'gm'), '');
}
