import { expect, test } from 'vitest';
import { readUsage } from '../src/state/usage';
import { json } from './server';
import { server } from './setup';

const NOW = new Date('2026-03-02T00:30:00Z');

function row(more: object): object {
  return {
    kind: 'reply',
    calls: 1,
    retries: 0,
    input_tokens: 0,
    output_tokens: 0,
    estimated_input_tokens: 0,
    estimated_output_tokens: 0,
    ...more,
  };
}

function serve(byDay: object[], byModel: object[] = []): void {
  server.on('GET /usage', ({ query }) => json(query.get('by') === 'day' ? byDay : byModel));
}

test('every day of the period is listed, also without usage, and days are in UTC', async () => {
  serve([
    row({ day: '2026-03-01', input_tokens: 30, output_tokens: 4 }),
    row({ day: '2026-02-28', input_tokens: 5, output_tokens: 1 }),
  ]);

  const { days } = await readUsage(4, NOW);

  expect(days.map(([day, { input, output }]) => [day, input, output])).toEqual([
    ['2026-02-27', 0, 0],
    ['2026-02-28', 5, 1],
    ['2026-03-01', 30, 4],
    ['2026-03-02', 0, 0],
  ]);
  expect(server.requests[0]?.query.get('since')).toBe('2026-02-27T00:00:00Z');
});

test('a retried reply is one reply, and titles cost tokens but are none', async () => {
  serve([
    row({ day: '2026-03-02', calls: 5, retries: 2, input_tokens: 50 }),
    row({ day: '2026-03-02', kind: 'title', calls: 3, input_tokens: 7 }),
  ]);

  const { total } = await readUsage(7, NOW);

  expect([total.replies, total.input]).toEqual([3, 57]);
});

test('models are listed by their tokens, with all kinds of calls together', async () => {
  serve(
    [],
    [
      row({ model: 'small', input_tokens: 10, output_tokens: 5 }),
      row({ model: 'large', input_tokens: 90 }),
      row({ model: 'small', kind: 'title', output_tokens: 100 }),
    ],
  );

  const { models } = await readUsage(7, NOW);

  expect(models.map(([name, { input, output }]) => [name, input, output])).toEqual([
    ['small', 10, 105],
    ['large', 90, 0],
  ]);
});

test('estimates are marked for the side that contains them', async () => {
  serve([row({ day: '2026-03-02', output_tokens: 9, estimated_output_tokens: 3 })]);

  const { total } = await readUsage(7, NOW);

  expect([total.inputEstimated, total.outputEstimated]).toEqual([false, true]);
});
