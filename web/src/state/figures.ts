/** What an answer took, in a line. */

import type { TurnSummary } from '../api/client';

const number = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat('en');

/** The model, the tokens, the seconds and the speed, as far as they are known. */
export function figures(turn: TurnSummary): string {
  const { input_tokens: read, output_tokens: written } = turn.usage;
  const parts = [turn.model];
  if (read != null && written != null) {
    parts.push(`${whole.format(read)} + ${whole.format(written)} tokens`);
  }
  if (turn.started_at !== null && turn.ended_at !== null) {
    const seconds = (Date.parse(turn.ended_at) - Date.parse(turn.started_at)) / 1_000;
    parts.push(`${number.format(seconds)} s`);
    if (written != null && seconds > 0) parts.push(`${number.format(written / seconds)} tokens/s`);
  }
  return parts.join(' · ');
}
