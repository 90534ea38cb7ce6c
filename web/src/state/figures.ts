/** What an answer took, in a line. */

import type { TurnSummary } from '../api/client';
import { t } from '../language';
import { count } from '../language/format';

/** The model, the tokens, the seconds and the speed, as far as they are known. */
export function figures(turn: TurnSummary): string {
  const { input_tokens: read, output_tokens: written } = turn.usage;
  const parts = [turn.model];
  if (read != null && written != null) parts.push(t.figures.tokens(count(read), count(written)));
  if (turn.started_at !== null && turn.ended_at !== null) {
    const seconds = (Date.parse(turn.ended_at) - Date.parse(turn.started_at)) / 1_000;
    parts.push(t.figures.seconds(rounded(seconds, 10)));
    if (written != null && seconds > 0) parts.push(t.figures.speed(rounded(written / seconds, 1)));
  }
  return parts.join(' · ');
}

/** A figure with one decimal below `limit`, and with none from there on. */
function rounded(value: number, limit: number): string {
  const digits = value < limit ? 1 : 0;
  return value.toLocaleString(undefined, { maximumFractionDigits: digits });
}
