/** The lines of one code block on the page, in parts, so that growth costs only the last part. */
import { sanitise } from './sanitise';

/** Lines to a part: a change lays out at most as many again. */
const PART_LINES = 50;

/** `html` is what its colours were made from: empty for none, missing if they are no longer whole. */
interface Part {
  element: HTMLElement;
  text: string;
  html: string | undefined;
}

export class Source {
  #root: HTMLElement;
  #parts: Part[] = [];
  /** Where the last part begins in the text. */
  #last = 0;
  #text = '';

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Shows `text`; parts that said the same before keep their colours. */
  show(text: string): void {
    const grown = this.#parts.length > 0 && text.startsWith(this.#text);
    let at = grown ? this.#parts.length - 1 : 0;
    let from = grown ? this.#last : 0;
    this.#text = text;
    do {
      const end = partEnd(text, from);
      this.#set(at, text.slice(from, end));
      this.#last = from;
      from = end;
      at += 1;
    } while (from < text.length);
    for (const part of this.#parts.splice(at)) part.element.remove();
  }

  /** Gives the text that is shown the colours of `html`, part by part; what `html` lacks gets none. */
  *paint(html: string): Generator<void> {
    const pieces = split(html);
    for (const [at, part] of this.#parts.entries()) {
      const piece = pieces[at] ?? '';
      if (part.html === piece) continue;
      const fragment = sanitise(piece, 'code');
      part.html = piece;
      // Colours only: the letters stay those that we were given.
      if (fragment.textContent === part.text) part.element.replaceChildren(fragment);
      else part.element.textContent = part.text;
      yield;
    }
  }

  #set(at: number, text: string): void {
    const part = this.#parts[at];
    if (part?.text === text) return;
    if (!part) {
      const element = document.createElement('span');
      element.className = 'md-part';
      element.textContent = text;
      this.#root.append(element);
      this.#parts.push({ element, text, html: '' });
      return;
    }
    const tail = part.element.lastChild;
    // New letters are put behind painted ones, not in their place.
    if (text.startsWith(part.text) && tail) {
      const added = text.slice(part.text.length);
      if (tail instanceof Text) tail.appendData(added);
      else part.element.append(added);
    } else part.element.textContent = text;
    part.text = text;
    if (part.html) part.html = undefined;
  }
}

function partEnd(text: string, from: number): number {
  let end = from;
  for (let line = 0; line < PART_LINES; line += 1) {
    const next = text.indexOf('\n', end);
    if (next < 0) return text.length;
    end = next + 1;
  }
  return end;
}

/** The parts of highlighted HTML; a colour that spans a border is closed and opened again. */
function split(html: string): string[] {
  const parts: string[] = [];
  const open: string[] = [];
  let lines = 0;
  let from = 0;
  let start = '';
  for (const mark of html.matchAll(/<span[^>]*>|<\/span>|\n/g)) {
    if (mark[0] === '</span>') open.pop();
    else if (mark[0] !== '\n') open.push(mark[0]);
    else if ((lines += 1) % PART_LINES === 0) {
      const end = mark.index + 1;
      parts.push(start + html.slice(from, end) + '</span>'.repeat(open.length));
      start = open.join('');
      from = end;
    }
  }
  parts.push(start + html.slice(from));
  return parts;
}
