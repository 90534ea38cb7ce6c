/** Text as HTML. */

const NAMES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Promises HTML that shows `text` letter by letter. */
export function escape(text: string): string {
  return text.replace(/[&<>"]/g, (letter) => NAMES[letter] ?? letter);
}
