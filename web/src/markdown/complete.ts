/** Completes half-written Markdown, so that a growing reply does not show its markup. */

const FENCE = /^[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(`{3,}|~{3,})/;
/** A line that is not decided yet: `-` under text, `#`, a fence. */
const UNDECIDED = /^[ \t>]*(?:=+|-{1,2}|#{1,6}|`{1,2}|~{1,2}|\|?[\s:|-]*)$/;
const PARAGRAPH_ENDS = /\n[ \t]*\n|\n[ \t>]*(?:[-*+]|\d{1,9}[.)])[ \t]|\n[ \t>]*#/g;
const HALF_LINK = /!?\[([^[\]]*)\]\([^()\s]*(?:\s+["'(][^"'()\n]*["')]?)?$/;
/** The first half of `~~`. */
const HALF_STRIKE = /(?<!~)~$/;
const HALF_IMAGE = /!\[[^[\]]*\]?$/;
/** Tags that are a part of our Markdown; half of one is not shown. */
const TAGS = ['details', 'summary'];
const RUN = /\\[\s\S]|`+|\$\$|\*+|_+|~~/g;

/** Markdown whose last paragraph closes what it opened. It is a guess at what will follow. */
export function complete(raw: string): string {
  if (insideFence(raw)) return raw.replace(/\n[ \t>]*[`~]{1,}[ \t]*$/, '');
  const whole = withoutHalfTag(raw);
  const text = completeTable(whole) ?? whole;
  let from = 0;
  for (const end of text.matchAll(PARAGRAPH_ENDS)) from = end.index + end[0].length;
  return text.slice(0, from) + closeMarkup(text.slice(from));
}

/** Whether the last line of `raw` is inside a fenced code block. */
function insideFence(raw: string): boolean {
  let open = '';
  for (const line of raw.split('\n')) {
    const fence = FENCE.exec(line)?.[1];
    if (fence && !open) open = fence;
    else if (fence?.startsWith(open) && /^[\s>]*[`~]+\s*$/.test(line)) open = '';
  }
  return open !== '';
}

function withoutHalfTag(raw: string): string {
  const at = raw.lastIndexOf('<');
  const half = at < 0 ? null : /^<\/?([a-z]{0,7})(\s[^\n>]*)?$/i.exec(raw.slice(at));
  if (!half) return raw;
  const name = (half[1] ?? '').toLowerCase();
  const isTag = TAGS.some((tag) => (half[2] === undefined ? tag.startsWith(name) : tag === name));
  return isTag ? raw.slice(0, at) : raw;
}

/** Complete a table of which only the header has arrived, and a part of the row below it. */
function completeTable(raw: string): string | undefined {
  const lines = raw.split('\n');
  const last = lines.pop() ?? '';
  const above = lines.at(-1);
  if (above === undefined || !UNDECIDED.test(last)) return undefined;
  const columns = above.split(/(?<!\\)\|/).length - 2;
  const head = /^\s*\|.*\|\s*$/.test(above) && !/^[\s|:-]*$/.test(above);
  const first = lines.length < 2 || !lines.at(-2)?.trim();
  if (head && first && columns > 0) return [...lines, `|${'---|'.repeat(columns)}`].join('\n');
  return last.trim() ? lines.join('\n') : undefined;
}

function closeMarkup(paragraph: string): string {
  let text = paragraph
    .trimEnd()
    .replace(HALF_LINK, '$1')
    .replace(HALF_IMAGE, '')
    .replace(HALF_STRIKE, '');
  const open: string[] = [];
  const runs = new RegExp(RUN);
  for (let match = runs.exec(text); match; match = runs.exec(text)) {
    const run = match[0];
    if (/^(?:`|\$|\\[([])/.test(run)) {
      const end = text.indexOf(closingOf(run), runs.lastIndex);
      if (end < 0) return closeSpan(text, match.index, run) + open.reverse().join('');
      runs.lastIndex = end + run.length;
    } else if (run[0] !== '\\') {
      toggleEmphasis(open, text, match.index, run);
    }
  }
  // Nothing follows the last marker yet: if it were closed, both would be shown.
  for (let last = open.at(-1); last && text.endsWith(last); last = open.at(-1)) {
    text = text.slice(0, -last.length).trimEnd();
    open.pop();
  }
  return text + open.reverse().join('');
}

function closingOf(run: string): string {
  return run === '\\(' ? '\\)' : run === '\\[' ? '\\]' : run;
}

/** Close inline code; show a formula as its source until its end arrives. */
function closeSpan(text: string, at: number, run: string): string {
  const before = text.slice(0, at);
  const inside = text.slice(at + run.length);
  if (!inside.trim()) return before.trimEnd();
  if (run[0] === '`') return text + run;
  return `${before}\`\` ${(run + inside).replace(/\s*\n\s*/g, ' ')} \`\``;
}

/** Open or close emphasis at a run of markers, roughly by the rules of Markdown. */
function toggleEmphasis(open: string[], text: string, at: number, run: string): void {
  const before = text[at - 1] ?? ' ';
  const after = text[at + run.length] ?? ' ';
  if (run[0] === '_' && /\w/.test(before) && /\w/.test(after)) return;
  if (open.at(-1) === run && /\S/.test(before)) open.pop();
  else if (run.length <= 3 && (/\S/.test(after) || at + run.length === text.length)) open.push(run);
}
