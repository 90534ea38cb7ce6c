/** What a reply cost, as one line of text. */

import type { TurnSummary } from '../api/client';
import { t } from '../language';
import { formatNumber } from '../language/format';

/** The model, the tokens, the seconds and the speed of a turn, as far as they are known. */
export function turnFigures(turn: TurnSummary): string {
  const { input_tokens: input, output_tokens: output } = turn.usage;
  const parts = [turn.model];
  if (input != null && output != null)
    parts.push(t.figures.tokens(formatNumber(input), formatNumber(output)));
  if (turn.started_at !== null && turn.ended_at !== null) {
    const seconds = (Date.parse(turn.ended_at) - Date.parse(turn.started_at)) / 1_000;
    parts.push(t.figures.seconds(rounded(seconds, 10)));
    if (output != null && seconds > 0) parts.push(t.figures.speed(rounded(output / seconds, 1)));
  }
  return parts.join(' · ');
}

/** A number with one decimal if it is below `limit`, else without. */
function rounded(value: number, limit: number): string {
  const digits = value < limit ? 1 : 0;
  return value.toLocaleString(undefined, { maximumFractionDigits: digits });
}

/** How long something took, as a text. */
export function duration(seconds: number): string {
  return t.figures.seconds(seconds < 0.1 ? t.steps.shortTime : rounded(seconds, 10));
}
