/** Footnotes: `[^1]` in the text, `[^1]: …` below it. */
import type { TokenizerExtension, TokenizerAndRendererExtension, Tokens } from 'marked';
import { t } from '../language';
import type { Note } from './definitions';
import { guardOf } from './guard';

const LABEL = '\\[\\^([^\\s[\\]]{1,100})\\]';
const REFERENCE = new RegExp(`^${LABEL}`);
const DEFINITION = new RegExp(`^ {0,3}${LABEL}:[ \\t]*`);
/** A line that ends a footnote, unless it is indented. */
const NEXT = /^ {0,3}(?:\[\^|[-*+>#`~<|]|\d{1,9}[.)][ \t])/;
/** How far a paragraph is searched: it is searched again for each of its blocks. */
const LONGEST_PARAGRAPH = 20_000;

/** Footnotes. One inside a list or a quote remains text. */
export const note: TokenizerExtension = {
  name: 'note',
  level: 'block',
  start(src) {
    const { mayHaveNotes, notesLeft, depth } = guardOf(this.lexer);
    if (!mayHaveNotes || notesLeft === 0 || depth > 0) return undefined;
    const start = src.slice(0, LONGEST_PARAGRAPH);
    const end = start.indexOf('\n\n');
    const at = start.slice(0, end < 0 ? undefined : end).search(/\n {0,3}\[\^[^\s[\]]{1,100}\]:/);
    return at < 0 ? undefined : at + 1;
  },
  tokenizer(src): Note | undefined {
    const guard = guardOf(this.lexer);
    const match = guard.notesLeft > 0 && guard.depth === 0 ? DEFINITION.exec(src) : null;
    if (!match?.[1]) return undefined;
    guard.notesLeft -= 1;
    const raw = src.slice(0, endOf(src, match[0].length));
    const text = raw.slice(match[0].length).replace(/\n(?: {1,4}|\t)/g, '\n');
    return { type: 'note', raw, label: match[1], text };
  },
};

export const reference: TokenizerAndRendererExtension = {
  name: 'reference',
  level: 'inline',
  start(src) {
    const at = guardOf(this.lexer).mayHaveNotes ? src.indexOf('[^') : -1;
    return at < 0 ? undefined : at;
  },
  tokenizer(src): Tokens.Generic | undefined {
    const label = REFERENCE.exec(src)?.[1];
    if (label === undefined || this.lexer.state.inLink) return undefined;
    const { notes, streaming } = guardOf(this.lexer);
    const number = notes.get(label);
    if (number === undefined && !(streaming && /^\d{1,3}$/.test(label))) return undefined;
    return { type: 'reference', raw: `[^${label}]`, text: String(number ?? label), number };
  },
  // In a growing text the footnote may still follow, so its reference is shown already.
  renderer: ({ text, number }) =>
    number === undefined ? `<sup>${text}</sup>` : `<sup class="md-ref">${text}</sup>`,
};

/** The text with its footnotes as paragraphs. */
export function withoutLabels(text: string): string {
  return text.replace(new RegExp(DEFINITION, 'gm'), '');
}

/** The offset of the end of the footnote whose text begins at `start`. */
function endOf(src: string, start: number): number {
  let end = lineEnd(src, start);
  let blank = false;
  for (let from = end; from < src.length;) {
    const to = lineEnd(src, from);
    const line = src.slice(from, to);
    from = to;
    if (!line.trim()) {
      blank = true;
      continue;
    }
    const indented = /^(?: {2}|\t)/.test(line);
    if (!indented && (blank || NEXT.test(line))) break;
    end = to;
    blank = false;
  }
  return end;
}

function lineEnd(src: string, from: number): number {
  const end = src.indexOf('\n', from);
  return end < 0 ? src.length : end + 1;
}

/** Put a button into each reference to a footnote. */
export function addReferenceButtons(fragment: DocumentFragment): void {
  for (const element of fragment.querySelectorAll('sup.md-ref')) {
    const number = element.textContent ?? '';
    if (!/^\d{1,5}$/.test(number) || element.closest('a')) continue;
    // Not a link: the fragment of the page's address is the conversation.
    const button = element.ownerDocument.createElement('button');
    button.type = 'button';
    button.setAttribute('role', 'link');
    button.setAttribute('aria-label', t.markdown.footnote(number));
    button.textContent = number;
    element.replaceChildren(button);
  }
}

/** The reference from which each footnote was last reached. */
const origins = new WeakMap<Element, HTMLElement>();

/** Handle a click in a message: go from a reference to its footnote, or from a footnote back. */
export function followReference(event: Event): void {
  const root = event.currentTarget;
  const button = event.target instanceof Element ? event.target.closest('button') : null;
  if (!(root instanceof Element) || !button) return;
  const notes = [...root.querySelectorAll<HTMLElement>('.md-notes > ol > li')];
  if (button.closest('.md-ref')) {
    const target = notes[Number(button.textContent) - 1];
    if (!target) return;
    origins.set(target, button);
    reveal(target);
  } else if (button.matches('.md-back')) {
    const index = notes.findIndex((item) => item.contains(button));
    const origin = notes[index] && origins.get(notes[index]);
    const back = origin?.isConnected ? origin : firstReference(root, index + 1);
    if (back) reveal(back);
  }
}

/** The first reference to a footnote; without one, the beginning of the text. */
function firstReference(root: Element, number: number): HTMLElement | null {
  const buttons = [...root.querySelectorAll<HTMLElement>('.md-ref > button')];
  return (
    buttons.find(({ textContent }) => textContent === String(number)) ??
    root.querySelector<HTMLElement>('.md-block')
  );
}

function reveal(element: HTMLElement): void {
  let details = element.closest('details');
  for (; details; details = details.parentElement?.closest('details') ?? null) details.open = true;
  if (element.tabIndex < 0) element.tabIndex = -1;
  element.focus({ preventScroll: true });
  element.scrollIntoView({ block: 'center' });
}
