/** The usage of the models: tokens and replies, by day and by model. */

import { api, unwrap } from '../api/client';
import type { components } from '../api/schema';

type UsageRow = components['schemas']['UsageRow'];

const DAY_MS = 86_400_000;

export interface UsageTotals {
  replies: number;
  input: number;
  output: number;
  /** Whether some of the tokens are estimates, because the provider did not count them. */
  inputEstimated: boolean;
  outputEstimated: boolean;
}

export interface Usage {
  total: UsageTotals;
  /** Every day of the period, oldest first, as `2026-01-31`. */
  days: readonly (readonly [string, UsageTotals])[];
  /** The model with the most tokens first. */
  models: readonly (readonly [string, UsageTotals])[];
}

/** The usage of the last days, including today, which are days in UTC. Throws `Problem`. */
export async function readUsage(dayCount: number, now = new Date()): Promise<Usage> {
  const days = Array.from({ length: dayCount }, (_, index) =>
    new Date(now.getTime() - (dayCount - 1 - index) * DAY_MS).toISOString().slice(0, 10),
  );
  const since = `${days[0]}T00:00:00Z`;
  const readRows = async (by: string) =>
    unwrap(await api.GET('/usage', { params: { query: { by, since } } }));
  const [byDay, byModel] = await Promise.all([readRows('day'), readRows('model')]);
  const models = [...new Set(byModel.map(({ model }) => model ?? ''))].map(
    (name) => [name, totals(byModel.filter(({ model }) => (model ?? '') === name))] as const,
  );
  return {
    total: totals(byDay),
    days: days.map((name) => [name, totals(byDay.filter(({ day }) => day === name))] as const),
    models: models.toSorted(([, a], [, b]) => b.input + b.output - a.input - a.output),
  };
}

function totals(rows: readonly UsageRow[]): UsageTotals {
  const sum = (figure: (row: UsageRow) => number) =>
    rows.reduce((total, row) => total + figure(row), 0);
  return {
    // A reply that needed several calls is still one.
    replies: sum(({ kind, calls, retries }) => (kind === 'reply' ? calls - retries : 0)),
    input: sum((row) => row.input_tokens),
    output: sum((row) => row.output_tokens),
    inputEstimated: sum((row) => row.estimated_input_tokens) > 0,
    outputEstimated: sum((row) => row.estimated_output_tokens) > 0,
  };
}
