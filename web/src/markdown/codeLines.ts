/** The lines of one code block, in parts, so that growth changes only the last part. */
import { sanitise } from './sanitise';

/** The lines of a part: a change lays out at most as many again. */
const PART_LINES = 50;

interface Part {
  element: HTMLElement;
  text: string;
  /** The highlighted HTML that is shown: empty if plain, undefined if it covers only a part. */
  html: string | undefined;
}

export class CodeLines {
  #root: HTMLElement;
  #parts: Part[] = [];
  /** The offset of the last part in the text. */
  #lastOffset = 0;
  #text = '';

  constructor(root: HTMLElement) {
    this.#root = root;
  }

  /** Show a text. Parts that do not change stay highlighted. */
  show(text: string): void {
    const grown = this.#parts.length > 0 && text.startsWith(this.#text);
    let index = grown ? this.#parts.length - 1 : 0;
    let from = grown ? this.#lastOffset : 0;
    this.#text = text;
    do {
      const end = partEnd(text, from);
      this.#set(index, text.slice(from, end));
      this.#lastOffset = from;
      from = end;
      index += 1;
    } while (from < text.length);
    for (const part of this.#parts.splice(index)) part.element.remove();
  }

  /** Highlight the text that is shown, one part for each step; parts that `html` lacks become plain. */
  *paint(html: string): Generator<void> {
    const pieces = split(html);
    for (const [index, part] of this.#parts.entries()) {
      const piece = pieces[index] ?? '';
      if (part.html === piece) continue;
      const fragment = sanitise(piece, 'code');
      part.html = piece;
      // Highlighting must not change the text.
      if (fragment.textContent === part.text) part.element.replaceChildren(fragment);
      else part.element.textContent = part.text;
      yield;
    }
  }

  #set(index: number, text: string): void {
    const part = this.#parts[index];
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
    // Append the new text, so that the highlighted text before it stays.
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

/** Split highlighted HTML into parts; a span across a border is closed and opened again. */
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
