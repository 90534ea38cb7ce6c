import { expect, test } from 'vitest';
import type { ChatBody } from '../src/state/outbox';
import { ActiveTurn } from '../src/state/activeTurn.svelte';
import { arrange, contextStart, END, RowCache, type Row } from '../src/state/rows';
import { message, turnMessages } from './chat';

function sending(text: string, more: Partial<ChatBody> = {}): ActiveTurn {
  return new ActiveTurn(`key of ${text}`, { session_id: 's', message: text, ...more });
}

function accepted(turnId: string, text: string, more: Partial<ChatBody> = {}): ActiveTurn {
  const turn = sending(text, more);
  turn.turnId = turnId;
  turn.phase = 'accepted';
  return turn;
}

function texts(rows: readonly Row[]): string[] {
  return rows.map(({ text, role }) => (text === '' ? `(${role})` : text));
}

const history = [...turnMessages('t1'), ...turnMessages('t2')];
const historyTexts = ['Text of t1-user', 'Text of t1-reply', 'Text of t2-user', 'Text of t2-reply'];

test('a message that is being sent is shown below the history, with a row for its reply', () => {
  const rows = arrange(history, [sending('Hello')], null, new RowCache());

  expect(texts(rows)).toEqual([...historyTexts, 'Hello', '(assistant)']);
  expect(rows.at(-1)?.status).toBe('sending');
});

test('a queued turn shows its message and no reply yet', () => {
  const [first, second] = [accepted('t3', 'First'), accepted('t4', 'Second')];
  const rows = arrange([], [first, second], first, new RowCache());

  expect(texts(rows)).toEqual(['First', '(assistant)', 'Second']);
});

test('a refused message stays without a reply', () => {
  const turn = sending('Hello');
  turn.phase = 'refused';

  const rows = arrange(history, [turn], null, new RowCache());

  expect(texts(rows)).toEqual([...historyTexts, 'Hello']);
  expect(rows.at(-1)?.status).toBe('refused');
});

test('a turn whose messages are stored is shown once, and hides none that came later', () => {
  const turn = accepted('t1', 'Text of t1-user');
  turn.userMessageId = 't1-user';
  turn.messageId = 't1-reply';
  turn.text = 'Text of t1-reply';

  expect(texts(arrange(history, [turn], turn, new RowCache()))).toEqual(historyTexts);
});

test('a turn whose user message alone is stored adds only its reply', () => {
  const turn = accepted('t2', 'Text of t2-user');
  turn.userMessageId = 't2-user';
  turn.messageId = 't2-reply';
  turn.text = 'Half a re';

  const rows = arrange(history.slice(0, 3), [turn], turn, new RowCache());

  expect(texts(rows)).toEqual([...historyTexts.slice(0, 3), 'Half a re']);
});

test('a new reply replaces the previous one at once', () => {
  const turn = accepted('t3', '', { regenerate: 't2' });

  const rows = arrange(history, [turn], turn, new RowCache());

  expect(texts(rows)).toEqual([...historyTexts.slice(0, 3), '(assistant)']);
});

test.each(['refused', 'ended'] as const)(
  'the previous reply stays if a new one has %s without text',
  (phase) => {
    const turn = accepted('t3', '', { regenerate: 't2' });
    turn.phase = phase;

    expect(texts(arrange(history, [turn], null, new RowCache()))).toEqual(historyTexts);
  },
);

test('an edited message replaces what follows its parent', () => {
  const turn = accepted('t3', 'Other words', { parent_id: 't1-reply' });

  const rows = arrange(history, [turn], turn, new RowCache());

  expect(texts(rows)).toEqual([...historyTexts.slice(0, 2), 'Other words', '(assistant)']);
});

test('an edited first message replaces everything', () => {
  const turn = accepted('t3', 'Other words', { parent_id: null });

  const rows = arrange(history, [turn], turn, new RowCache());

  expect(texts(rows)).toEqual(['Other words', '(assistant)']);
});

test('rows keep their keys when their messages are stored', () => {
  const cache = new RowCache();
  const turn = sending('Text of t1-user');
  const before = arrange([], [turn], null, cache).map(({ key }) => key);

  turn.phase = 'accepted';
  turn.userMessageId = 't1-user';
  turn.messageId = 't1-reply';
  arrange([], [turn], turn, cache);
  const after = arrange(turnMessages('t1'), [], null, cache).map(({ key }) => key);

  expect(after).toEqual(before);
});

function replied(count: number): Row[] {
  const messages = Array.from({ length: count }, (_, index) =>
    message(`m${index}`, index % 2 === 0 ? 'user' : 'assistant'),
  );
  return [...arrange(messages, [], null, new RowCache())];
}

test('the context starts at the oldest message that the model will read', () => {
  expect(contextStart(replied(6), 2)).toBe('m4');
  expect(contextStart(replied(6), 5)).toBe('m1');
});

test('there is no start of the context if the model reads everything', () => {
  expect(contextStart(replied(6), 6)).toBeNull();
  expect(contextStart([], 0)).toBeNull();
});

test('the context starts at the end if the model reads no message', () => {
  expect(contextStart(replied(6), 0)).toBe(END);
});

test('messages without a reply and empty messages do not count for the context', () => {
  const rows = arrange(
    [
      message('a', 'user'),
      message('b', 'assistant'),
      message('unanswered', 'user'),
      message('c', 'user'),
      message('empty', 'assistant', { content: '' }),
      message('d', 'assistant'),
    ],
    [],
    null,
    new RowCache(),
  );

  expect(contextStart(rows, 2)).toBe('c');
});
