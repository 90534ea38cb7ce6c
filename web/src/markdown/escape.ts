/** Escapes text for HTML. */

const NAMES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** HTML that shows exactly this text, also in attributes with double quotes. */
export function escape(text: string): string {
  return text.replace(/[&<>"]/g, (letter) => NAMES[letter] ?? letter);
}
