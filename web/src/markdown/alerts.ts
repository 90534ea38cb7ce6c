/** Alerts: block quotes that begin with a marker such as `[!NOTE]`. */
import type { Token } from 'marked';

const ALERTS = ['note', 'tip', 'important', 'warning', 'caution'] as const;
export type Alert = (typeof ALERTS)[number];

const MARKER = /^\[!([a-z]{3,9})\][ \t]*\n?/i;
/** A text that may still grow to a marker. */
const HALF_MARKER = /^\[!?[a-z]{0,9}\]?$/i;

/**
 * The kind of alert that a block quote is, if any, and its blocks without the marker.
 *
 * @param tokens - The blocks of the quote.
 * @param streaming - Whether more text may follow; then the beginning of a marker is hidden.
 */
export function alertOf(
  tokens: Token[],
  streaming: boolean,
): { alert: Alert | undefined; tokens: Token[] } {
  const [paragraph, ...others] = tokens;
  const [text, ...rest] = paragraph?.type === 'paragraph' ? (paragraph.tokens ?? []) : [];
  if (!paragraph || text?.type !== 'text') return { alert: undefined, tokens };
  const match = MARKER.exec(String(text.text));
  const alert = ALERTS.find((name) => name === match?.[1]?.toLowerCase());
  if (!match || !alert) {
    const half = streaming && tokens.length === 1 && rest.length === 0;
    return { alert, tokens: half && HALF_MARKER.test(String(text.text)) ? [] : tokens };
  }
  const left = text.text.slice(match[0].length);
  const inner = left ? [{ ...text, raw: left, text: left }, ...rest] : rest;
  if (inner[0]?.type === 'br') inner.shift();
  if (inner.length === 0) return { alert, tokens: others };
  return { alert, tokens: [{ ...paragraph, tokens: inner }, ...others] };
}
