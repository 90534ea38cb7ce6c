/** A growing text as blocks. Only its end is parsed again; earlier blocks do not change. */
import type { Token } from 'marked';
import { Definitions, isNote } from './definitions';
import { outline } from './grammar';
import { parseBlock, type Node } from './nodes';

/** One block of the page. Its `node` changes only if its content may have changed. */
export class Cell {
  node: Node = $state.raw({ kind: 'group', children: [] });
  /** What `node` was made from: its Markdown, the definitions, and whether it was complete. */
  source = '';
  #definitions = '';
  #complete = false;
  /** Whether more definitions could follow. */
  #expectsDefinitions = false;

  /**
   * Show a block.
   *
   * @param source - The Markdown of the block.
   * @param definitions - The definitions of the message as far as they are known.
   * @param expectsDefinitions - Whether more definitions may follow.
   * @param complete - Whether the block itself cannot grow any more.
   */
  update(
    source: string,
    definitions: Definitions,
    expectsDefinitions: boolean,
    complete: boolean,
  ): void {
    const hasSameDefinitions =
      !source.includes('[') ||
      (this.#definitions === definitions.source &&
        (this.#expectsDefinitions === expectsDefinitions || !source.includes('[^')));
    if (this.#complete && complete && this.source === source && hasSameDefinitions) return;
    this.node = parseBlock(source, definitions, expectsDefinitions, !complete);
    this.source = source;
    this.#definitions = definitions.source;
    this.#complete = complete;
    this.#expectsDefinitions = expectsDefinitions;
  }
}

/** Possibly the beginning of an item, a heading or a fence: `2` below a list may become `2. `. */
const UNDECIDED = /^\s*(?:\d{1,9}[.)]?|[-*+#>|`~$]{1,3}|\[\^[^\s[\]]{0,20}\]?)[ \t]*$/;
/** A block that is longer than any marker can no longer become a part of the one before. */
const MARKER_LENGTH = 12;
const CLOSING_FENCE = /\n {0,3}(?:`{3}|~{3})/;
const OPEN_FENCE = /^(`{3,}|~{3,})([^`\n]*)\n/;

/** The blocks of one message. A text that arrives in pieces ends with the same cells as a whole one. */
export class Blocks {
  cells: Cell[] = $state.raw([]);
  /** The footnotes, in the order of their numbers; they are shown below the rest. */
  notes: Cell[] = $state.raw([]);
  #text = '';
  /** The text before this offset can no longer change: its cells, footnotes and definitions. */
  #settled = 0;
  #settledCount = { cells: 0, notes: 0 };
  #definitions = new Definitions();

  /**
   * Show a text.
   *
   * @param text - All of the text that has arrived.
   * @param streaming - Whether more may follow.
   */
  update(text: string, streaming: boolean): void {
    const clean = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
    if (!clean.startsWith(this.#text)) {
      [this.cells, this.notes] = [[], []];
      this.#restart();
    }
    this.#text = clean;
    if (!streaming) this.#restart();
    else if (this.#growFence()) return;
    const definitions = this.#definitions.copy();
    const tokens = outline(clean.slice(this.#settled), definitions);
    this.#show(tokens, definitions, streaming);
    if (streaming) this.#settle(tokens);
  }

  /** Parse the text from its beginning next time. Cells whose content is the same stay. */
  #restart(): void {
    this.#settled = 0;
    this.#settledCount = { cells: 0, notes: 0 };
    this.#definitions = new Definitions();
  }

  #show(tokens: Token[], definitions: Definitions, streaming: boolean): void {
    const shown = tokens.filter(isShown);
    if (streaming && shown.length > 1 && UNDECIDED.test(shown.at(-1)?.raw ?? '')) shown.pop();
    const last = streaming ? shown.at(-1) : undefined;
    const blocks = shown.filter((token) => !isNote(token));
    const notes = shown.filter(isNote);
    const fill = (cells: Cell[], settled: number, tokens: Token[]): Cell[] => {
      const filled = tokens.map((token, index) => {
        const cell = cells[settled + index] ?? new Cell();
        const source = isNote(token) ? token.text : token.raw;
        cell.update(source, definitions, streaming, token !== last);
        return cell;
      });
      const isSame =
        filled.length + settled === cells.length &&
        filled.every((cell, index) => cell === cells[settled + index]);
      return isSame ? cells : [...cells.slice(0, settled), ...filled];
    };
    this.cells = fill(this.cells, this.#settledCount.cells, blocks);
    this.notes = fill(this.notes, this.#settledCount.notes, notes);
  }

  /** Mark all blocks before the last one as settled, once it can no longer join them. */
  #settle(tokens: Token[]): void {
    const last = tokens.findLastIndex((token) => token.type !== 'space');
    const raw = tokens[last]?.raw ?? '';
    if (raw.length <= MARKER_LENGTH && !raw.includes('\n')) return;
    const before = tokens.slice(0, last);
    let offset = this.#settled;
    for (const token of before) {
      // If marked ever reported another text than it parsed, nothing would be settled.
      if (!this.#text.startsWith(token.raw, offset)) return;
      offset += token.raw.length;
    }
    this.#definitions.add(before);
    this.#settled = offset;
    const notes = before.filter(isNote).length;
    this.#settledCount.notes += notes;
    this.#settledCount.cells += before.filter(isShown).length - notes;
  }

  /** Extend a code block that is still open, without parsing it. Returns false if there is none. */
  #growFence(): boolean {
    const cell = this.cells[this.#settledCount.cells];
    const node = cell?.node;
    if (
      !cell ||
      this.cells.length !== this.#settledCount.cells + 1 ||
      node?.kind !== 'code' ||
      !node.streaming
    )
      return false;
    const raw = this.#text.slice(this.#settled);
    const fence = OPEN_FENCE.exec(raw);
    if (!fence?.[1]) return false;
    const lineStart = raw.lastIndexOf('\n', cell.source.length - 1);
    const rest = raw.slice(Math.max(lineStart, fence[0].length - 1));
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
