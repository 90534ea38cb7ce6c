import { expect, test } from 'vitest';
import type { TurnSummary } from '../src/api/client';
import { errorText, Problem, pageCursor } from '../src/api/client';
import { formatNumber } from '../src/language/format';
import { turnFigures } from '../src/state/figures';
import { fileAsBlock } from '../src/state/files';
import { readDraft, writeDraft } from '../src/state/outbox';
import { problemCode, problemTitle } from '../src/state/problems';
import { sessionHref } from '../src/state/route.svelte';
import { displayTitle } from '../src/state/titles';

function turn(more: object = {}): TurnSummary {
  return {
    model: 'openai:any',
    started_at: '2026-03-02T10:00:00Z',
    ended_at: '2026-03-02T10:00:04Z',
    usage: { input_tokens: 120, output_tokens: 50 },
    ...more,
  } as unknown as TurnSummary;
}

test('the figures of a reply are its model, tokens, seconds and speed', () => {
  const speed = (12.5).toLocaleString(undefined, { maximumFractionDigits: 0 });
  expect(turnFigures(turn())).toBe(`openai:any · 120 in, 50 out · 4 s · ${speed} tok/s`);
});

test('figures that are not known are left out', () => {
  expect(turnFigures(turn({ usage: {}, ended_at: null }))).toBe('openai:any');
  expect(turnFigures(turn({ ended_at: null }))).toBe('openai:any · 120 in, 50 out');
  expect(turnFigures(turn({ usage: { input_tokens: 3, output_tokens: null } }))).toBe(
    'openai:any · 4 s',
  );
});

test('a reply that took no time has no speed', () => {
  expect(turnFigures(turn({ ended_at: '2026-03-02T10:00:00Z' }))).toMatch(/ out · 0 s$/);
});

test('numbers are written in the format of the reader', () => {
  expect(formatNumber(1_234_567)).toBe((1_234_567).toLocaleString());
});

test('a text file becomes a block of code with its name and language', async () => {
  const file = new File(['print("Grüße")\n\n'], 'hello.PY');

  expect(await fileAsBlock(file)).toBe('hello.PY\n```py\nprint("Grüße")\n```\n');
});

test('the fence of a file is longer than any in its text', async () => {
  const block = await fileAsBlock(new File(['````\n```\n'], 'notes'));

  expect(block).toBe('notes\n`````\n````\n```\n`````\n');
});

test.each([
  ['not UTF-8', new Uint8Array([0xff, 0xfe, 0x41])],
  ['with a null character', new TextEncoder().encode('a\0b')],
])('a file that is %s is not text', async (_, bytes) => {
  await expect(fileAsBlock(new File([bytes], 'x.txt'))).rejects.toThrow(
    'x.txt cannot be added. Chatkeep accepts text and pictures (PNG, JPEG, GIF, WebP).',
  );
});

test.each([100_000, 400_001])('a file of %i letters is too long for a message', async (length) => {
  await expect(fileAsBlock(new File(['a'.repeat(length)], 'x.txt'))).rejects.toThrow(
    `x.txt is too long: a message can have at most ${formatNumber(100_000)} characters.`,
  );
});

test('a large file is refused by its size, before it is read', async () => {
  const file = new File([new Uint8Array(400_001).fill(0xff)], 'x.png');

  await expect(fileAsBlock(file)).rejects.toThrow('x.png is too long');
});

test('a problem has the code and the title that the server gave it', () => {
  const problem = new Problem(409, 'Conflict', 'Details', 'https://host/problems/session-busy');

  expect(problemCode(problem)).toBe('session-busy');
  expect(problemTitle(problem)).toBe('Conflict');
  expect(errorText(problem)).toBe('Details');
});

test('any body of an error is a problem', () => {
  expect(Problem.from(null, 502)).toMatchObject({
    title: 'The server answered 502.',
    detail: 'The server answered 502.',
    type: 'about:blank',
    retryAfter: null,
    turnId: null,
  });
  expect(
    Problem.from({ title: 7, detail: 'Wait.', retry_after: 3, turn_id: 't' }, 503),
  ).toMatchObject({
    title: 'The server answered 503.',
    detail: 'Wait.',
    retryAfter: 3,
    turnId: 't',
  });
});

test('what is not a problem of the server means that it cannot be reached', () => {
  expect(errorText(new TypeError('Failed to fetch'))).toBe('The server cannot be reached.');
});

test('the cursor of a page is read from one of several links', () => {
  const links =
    '<https://host/s?limit=5&before=a%2Fb>; rel="prev", <https://host/s?after=c,d>; rel="next"';
  const response = new Response(null, { headers: { Link: links } });

  expect(pageCursor(response, 'prev')).toBe('a/b');
  expect(pageCursor(response, 'next')).toBe('c,d');
  expect(pageCursor(new Response(), 'next')).toBeNull();
});

test('a title cannot change the direction of the text around it', () => {
  expect(displayTitle('\u202Eevil\u202C \u2066x\u2069 عنوان')).toBe('evil x عنوان');
});

test('an address keeps every character of a session and a message id', () => {
  expect(sessionHref(null)).toBe('#/');
  expect(sessionHref('a/b?c')).toBe('#/a%2Fb%3Fc');
  expect(sessionHref('s', 'm&1')).toBe('#/s?message=m%261');
});

test('each session has its own draft until it is sent', () => {
  writeDraft(null, 'New');
  writeDraft('s', 'Old');
  expect([readDraft(null), readDraft('s'), readDraft('other')]).toEqual(['New', 'Old', '']);

  writeDraft('s', '');
  expect([readDraft(null), readDraft('s')]).toEqual(['New', '']);
});
