/** Quotes that begin with `[!NOTE]` or the like: what readers should not miss. */
import type { Token } from 'marked';

const ALERTS = ['note', 'tip', 'important', 'warning', 'caution'] as const;
export type Alert = (typeof ALERTS)[number];

const MARKER = /^\[!([a-z]{3,9})\][ \t]*\n?/i;
/** What may become a marker yet. */
const HALF_MARKER = /^\[!?[a-z]{0,9}\]?$/i;

/** The kind of an alert among a quote's blocks, and the blocks without its marker. */
export function alertOf(
  tokens: Token[],
  growing: boolean,
): { alert: Alert | undefined; tokens: Token[] } {
  const [paragraph, ...others] = tokens;
  const [text, ...rest] = paragraph?.type === 'paragraph' ? (paragraph.tokens ?? []) : [];
  if (!paragraph || text?.type !== 'text') return { alert: undefined, tokens };
  const match = MARKER.exec(String(text.text));
  const alert = ALERTS.find((name) => name === match?.[1]?.toLowerCase());
  if (!match || !alert) {
    const half = growing && tokens.length === 1 && rest.length === 0;
    return { alert, tokens: half && HALF_MARKER.test(String(text.text)) ? [] : tokens };
  }
  const left = text.text.slice(match[0].length);
  const inner = left ? [{ ...text, raw: left, text: left }, ...rest] : rest;
  if (inner[0]?.type === 'br') inner.shift();
  if (inner.length === 0) return { alert, tokens: others };
  return { alert, tokens: [{ ...paragraph, tokens: inner }, ...others] };
}
