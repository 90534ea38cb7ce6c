/** What the models were used for: tokens and answers, by day and by model. */

import { api, data } from '../api/client';
import type { components } from '../api/schema';

type UsageRow = components['schemas']['UsageRow'];

const DAY_MS = 86_400_000;

export interface Amount {
  answers: number;
  input: number;
  output: number;
  /** Whether tokens are among them that no provider has counted. */
  inputEstimated: boolean;
  outputEstimated: boolean;
}

export interface Usage {
  total: Amount;
  /** Every day of the time, oldest first, as `2026-01-31`. */
  days: readonly (readonly [string, Amount])[];
  /** The dearest first. */
  models: readonly (readonly [string, Amount])[];
}

/** What was used on the last `count` days, which are days in UTC. Throws `Problem`. */
export async function readUsage(count: number, now = new Date()): Promise<Usage> {
  const days = Array.from({ length: count }, (_, at) =>
    new Date(now.getTime() - (count - 1 - at) * DAY_MS).toISOString().slice(0, 10),
  );
  const since = `${days[0]}T00:00:00Z`;
  const read = async (by: string) =>
    data(await api.GET('/usage', { params: { query: { by, since } } }));
  const [byDay, byModel] = await Promise.all([read('day'), read('model')]);
  const models = [...new Set(byModel.map(({ model }) => model ?? ''))].map(
    (name) => [name, amount(byModel.filter(({ model }) => (model ?? '') === name))] as const,
  );
  return {
    total: amount(byDay),
    days: days.map((name) => [name, amount(byDay.filter(({ day }) => day === name))] as const),
    models: models.toSorted(([, a], [, b]) => b.input + b.output - a.input - a.output),
  };
}

function amount(rows: readonly UsageRow[]): Amount {
  const sum = (figure: (row: UsageRow) => number) =>
    rows.reduce((total, row) => total + figure(row), 0);
  return {
    // An answer that had to be asked for again is still one.
    answers: sum(({ kind, calls, retries }) => (kind === 'reply' ? calls - retries : 0)),
    input: sum((row) => row.input_tokens),
    output: sum((row) => row.output_tokens),
    inputEstimated: sum((row) => row.estimated_input_tokens) > 0,
    outputEstimated: sum((row) => row.estimated_output_tokens) > 0,
  };
}
