/** A growing text as blocks. Reads again only its end; what stands before stays untouched. */
import type { Links, Token } from 'marked';
import { noLinks, outline } from './grammar';
import { read, type Node } from './nodes';

/** One block of the page. Its `node` changes only if what it shows may change. */
export class Cell {
  node: Node = $state.raw({ kind: 'group', children: [] });
  /** From what `node` was made: its Markdown, the definitions known then, whether it was whole. */
  source = '';
  known = '';
  whole = false;
}

/** The beginning of an item, a heading or a fence perhaps: `2` below a list may become `2. `. */
const UNDECIDED = /^\s*(?:\d{1,9}[.)]?|[-*+#>|`~$]{1,3})[ \t]*$/;
/** A block that is longer than any marker can no longer turn out to belong to the one before. */
const MARKER_LENGTH = 12;
const CLOSING_FENCE = /\n {0,3}(?:`{3}|~{3})/;
const OPEN_FENCE = /^(`{3,}|~{3,})([^`\n]*)\n/;

/** Promises that a text read piece by piece ends with the same cells as one read at once. */
export class Blocks {
  cells: Cell[] = $state.raw([]);
  #text = '';
  /** Everything before this offset is settled, in the first `#kept` cells. */
  #settled = 0;
  #kept = 0;
  /** The definitions `[name]: address` of the settled part, and the links that they make. */
  #known = '';
  #links: Links = noLinks();

  update(text: string, streaming: boolean): void {
    const clean = text.includes('\r') ? text.replace(/\r\n?/g, '\n') : text;
    if (!clean.startsWith(this.#text)) this.#restart(0);
    this.#text = clean;
    if (!streaming) this.#restart(this.cells.length);
    else if (this.#growFence()) return;
    const links = Object.assign(noLinks(), this.#links);
    const tokens = outline(clean.slice(this.#settled), links);
    this.#show(tokens, links, streaming);
    if (streaming) this.#settle(tokens);
  }

  /** Reads from the beginning next time, with the first `cells` cells kept to compare with. */
  #restart(cells: number): void {
    if (cells < this.cells.length) this.cells = this.cells.slice(0, cells);
    this.#settled = 0;
    this.#kept = 0;
    this.#known = '';
    this.#links = noLinks();
  }

  #show(tokens: Token[], links: Links, streaming: boolean): void {
    const known =
      this.#known + tokens.map((token) => (token.type === 'def' ? token.raw : '')).join('');
    const shown = tokens.filter(isShown);
    if (streaming && shown.length > 1 && UNDECIDED.test(shown.at(-1)?.raw ?? '')) shown.pop();
    const count = this.#kept + shown.length;
    const added: Cell[] = [];
    shown.forEach((token, at) => {
      let cell = this.cells[this.#kept + at];
      if (!cell) added.push((cell = new Cell()));
      const whole = !streaming || at < shown.length - 1;
      const current = cell.known === known || !token.raw.includes('[');
      if (cell.whole && whole && cell.source === token.raw && current) return;
      cell.node = read(token.raw, links, !whole);
      cell.source = token.raw;
      cell.known = known;
      cell.whole = whole;
    });
    if (added.length > 0) this.cells = [...this.cells, ...added];
    else if (count < this.cells.length) this.cells = this.cells.slice(0, count);
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
    for (const token of before) {
      if (token.type !== 'def') continue;
      this.#known += token.raw;
      this.#links[token.tag] ??= { href: token.href, title: token.title };
    }
    this.#settled = offset;
    this.#kept += before.filter(isShown).length;
  }

  /** Lengthens a code block that is still open, without reading it again. */
  #growFence(): boolean {
    const cell = this.cells[this.#kept];
    const node = cell?.node;
    if (!cell || this.cells.length !== this.#kept + 1 || node?.kind !== 'code' || !node.growing)
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
