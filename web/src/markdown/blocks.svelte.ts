/** A growing text as blocks. Reads again only its end; what stands before stays untouched. */
import type { Token } from 'marked';
import { Definitions, isNote } from './definitions';
import { outline } from './grammar';
import { read, type Node } from './nodes';

/** One block of the page. Its `node` changes only if what it shows may change. */
export class Cell {
  node: Node = $state.raw({ kind: 'group', children: [] });
  /** From what `node` was made: its Markdown, the definitions known then, whether it was whole. */
  source = '';
  #known = '';
  #whole = false;
  /** Whether more definitions could come then. */
  #unfinished = false;

  /** Shows `source`, the Markdown of a block in a message with these definitions. */
  update(source: string, defined: Definitions, unfinished: boolean, whole: boolean): void {
    const known =
      !source.includes('[') ||
      (this.#known === defined.source &&
        (this.#unfinished === unfinished || !source.includes('[^')));
    if (this.#whole && whole && this.source === source && known) return;
    this.node = read(source, defined, unfinished, !whole);
    this.source = source;
    this.#known = defined.source;
    this.#whole = whole;
    this.#unfinished = unfinished;
  }
}

/** The beginning of an item, a heading or a fence perhaps: `2` below a list may become `2. `. */
const UNDECIDED = /^\s*(?:\d{1,9}[.)]?|[-*+#>|`~$]{1,3}|\[\^[^\s[\]]{0,20}\]?)[ \t]*$/;
/** A block that is longer than any marker can no longer turn out to belong to the one before. */
const MARKER_LENGTH = 12;
const CLOSING_FENCE = /\n {0,3}(?:`{3}|~{3})/;
const OPEN_FENCE = /^(`{3,}|~{3,})([^`\n]*)\n/;

/** Promises that a text read piece by piece ends with the same cells as one read at once. */
export class Blocks {
  cells: Cell[] = $state.raw([]);
  /** The footnotes, which stand below the rest in the order of their numbers. */
  notes: Cell[] = $state.raw([]);
  #text = '';
  /** Everything before this offset is settled: so many cells and footnotes, and these definitions. */
  #settled = 0;
  #kept = { cells: 0, notes: 0 };
  #defined = new Definitions();

  update(text: string, streaming: boolean): void {
    const clean = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
    if (!clean.startsWith(this.#text)) {
      [this.cells, this.notes] = [[], []];
      this.#restart();
    }
    this.#text = clean;
    if (!streaming) this.#restart();
    else if (this.#growFence()) return;
    const defined = this.#defined.copy();
    const tokens = outline(clean.slice(this.#settled), defined);
    this.#show(tokens, defined, streaming);
    if (streaming) this.#settle(tokens);
  }

  /** Reads from the beginning next time, and compares with what is there. */
  #restart(): void {
    this.#settled = 0;
    this.#kept = { cells: 0, notes: 0 };
    this.#defined = new Definitions();
  }

  #show(tokens: Token[], defined: Definitions, streaming: boolean): void {
    const shown = tokens.filter(isShown);
    if (streaming && shown.length > 1 && UNDECIDED.test(shown.at(-1)?.raw ?? '')) shown.pop();
    const last = streaming ? shown.at(-1) : undefined;
    const blocks = shown.filter((token) => !isNote(token));
    const notes = shown.filter(isNote);
    const fill = (cells: Cell[], kept: number, read: Token[]): Cell[] => {
      const filled = read.map((token, at) => {
        const cell = cells[kept + at] ?? new Cell();
        cell.update(isNote(token) ? token.text : token.raw, defined, streaming, token !== last);
        return cell;
      });
      const same =
        filled.length + kept === cells.length &&
        filled.every((cell, at) => cell === cells[kept + at]);
      return same ? cells : [...cells.slice(0, kept), ...filled];
    };
    this.cells = fill(this.cells, this.#kept.cells, blocks);
    this.notes = fill(this.notes, this.#kept.notes, notes);
  }

  /** Settles all blocks before the last one, once no more text can join them to it. */
  #settle(tokens: Token[]): void {
    const last = tokens.findLastIndex((token) => token.type !== 'space');
    const raw = tokens[last]?.raw ?? '';
    if (raw.length <= MARKER_LENGTH && !raw.includes('\n')) return;
    const before = tokens.slice(0, last);
    let offset = this.#settled;
    for (const token of before) {
      // Should marked ever report another text than it read, nothing is settled.
      if (!this.#text.startsWith(token.raw, offset)) return;
      offset += token.raw.length;
    }
    this.#defined.add(before);
    this.#settled = offset;
    const notes = before.filter(isNote).length;
    this.#kept.notes += notes;
    this.#kept.cells += before.filter(isShown).length - notes;
  }

  /** Lengthens a code block that is still open, without reading it again. */
  #growFence(): boolean {
    const cell = this.cells[this.#kept.cells];
    const node = cell?.node;
    if (
      !cell ||
      this.cells.length !== this.#kept.cells + 1 ||
      node?.kind !== 'code' ||
      !node.growing
    )
      return false;
    const raw = this.#text.slice(this.#settled);
    const fence = OPEN_FENCE.exec(raw);
    if (!fence?.[1]) return false;
    const seen = raw.lastIndexOf('\n', cell.source.length - 1);
    const rest = raw.slice(Math.max(seen, fence[0].length - 1));
    if (CLOSING_FENCE.test(rest)) return false;
    // The last line may become the closing fence.
    const end = /\n(?: {0,3}[`~]{0,2})?$/.exec(raw.slice(-6))?.[0].length ?? 0;
    cell.source = raw;
    cell.node = {
      ...node,
      text: raw.slice(fence[0].length, Math.max(raw.length - end, fence[0].length)),
    };
    return true;
  }
}

function isShown(token: Token): boolean {
  return token.type !== 'space' && token.type !== 'def';
}
