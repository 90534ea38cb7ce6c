import { expect, test } from 'vitest';
import type { ChatBody } from '../src/state/outbox';
import { ActiveTurn } from '../src/state/activeTurn.svelte';
import { arrange, contextStart, END, findRow, RowCache, type Row } from '../src/state/rows';
import { CALL, message, stepMessages, turnMessages } from './chat';

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
  turn.parts = [{ type: 'text', text: 'Text of t1-reply' }];

  expect(texts(arrange(history, [turn], turn, new RowCache()))).toEqual(historyTexts);
});

test('a turn whose user message alone is stored adds only its reply', () => {
  const turn = accepted('t2', 'Text of t2-user');
  turn.userMessageId = 't2-user';
  turn.messageId = 't2-reply';
  turn.parts = [{ type: 'text', text: 'Half a re' }];

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

function withSteps(turnId: string) {
  const [user, reply] = turnMessages(turnId);
  return [user, ...stepMessages(turnId), reply];
}

test('steps are in the row of the reply to which they lead', () => {
  const rows = arrange([...withSteps('t1'), ...turnMessages('t2')], [], null, new RowCache());

  expect(texts(rows)).toEqual(historyTexts);
  expect(rows[1]).toMatchObject({ id: 't1-reply', role: 'assistant', isStep: false });
  expect(rows[1]?.messageIds).toEqual(['t1-call', 't1-result', 't1-reply']);
  expect(rows[1]?.parts).toEqual([
    { type: 'reasoning', text: 'Hm.' },
    { type: 'text', text: 'Wait.' },
    {
      type: 'call',
      name: 'look',
      args: { at: 'sea' },
      result: { text: 'Waves.', isError: false, files: [] },
      seconds: 2,
      messageIds: ['t1-call', 't1-result'],
    },
    { type: 'text', text: 'Text of t1-reply' },
  ]);
  expect(['t1-result', 't2-reply', 'unknown'].map((id) => findRow(rows, id))).toEqual([1, 3, -1]);
});

test('the row of a reply is the same until one of its messages is another', () => {
  const cache = new RowCache();
  const messages = withSteps('t1');
  const [, before] = arrange(messages, [], null, cache);

  expect(arrange([...messages, message('u', 'user')], [], null, cache)[1]).toBe(before);
  // The older part of a reply is read later.
  const [cut] = arrange(messages.slice(2), [], null, cache);
  expect(cut?.key).toBe(before?.key);
  expect(cut?.parts[0]).toMatchObject({ type: 'call', args: null, name: 'look' });
  expect(arrange(messages, [], null, cache)[1]?.parts).toEqual(before?.parts);
});

test('a result is never paired with a call of an earlier message', () => {
  const first = message('a', 'assistant', { blocks: [CALL] });
  const [second, result] = stepMessages('t1');
  const [row] = arrange([first, second, result], [], null, new RowCache());

  const results = row?.parts.map((part) => (part.type === 'call' ? part.result?.text : part.type));
  expect(results).toEqual([undefined, 'reasoning', 'text', 'Waves.']);
  expect(row).toMatchObject({ isStep: true, text: '', role: 'assistant' });
});

test('every message of a row that has others beside it is a branch', () => {
  const [user, call, result, reply] = withSteps('t1');
  const rows = arrange(
    [
      user!,
      { ...call!, siblings: ['t1-call', 'x'] },
      result!,
      { ...reply!, siblings: ['y', 't1-reply'] },
    ],
    [],
    null,
    new RowCache(),
  );

  expect(rows[1]?.branches.map(({ id, siblings }) => [id, siblings.length])).toEqual([
    ['t1-call', 2],
    ['t1-reply', 2],
  ]);
});

test('a new reply replaces the steps of the previous one too', () => {
  const turn = accepted('t3', '', { regenerate: 't1' });

  const rows = arrange(withSteps('t1'), [turn], turn, new RowCache());

  expect(texts(rows)).toEqual(['Text of t1-user', '(assistant)']);
  expect(rows[1]?.parts).toEqual([]);
});

test('a regenerated reply with steps is regenerated from its user message', () => {
  const [user] = turnMessages('t1');
  const branch = [...stepMessages('t2'), message('t2-reply', 'assistant', { turn_id: 't2' })];
  const turn = accepted('t3', '', { regenerate: 't2' });

  expect(texts(arrange([user, ...branch], [turn], turn, new RowCache()))).toEqual([
    'Text of t1-user',
    '(assistant)',
  ]);
});

test('a turn that takes in a result goes on with the row of its call', () => {
  const [user] = turnMessages('t1');
  const [call, result] = stepMessages('t1');
  const turn = new ActiveTurn('key', null);
  Object.assign(turn, { turnId: 't2', phase: 'accepted', messageId: 't2-reply' });
  turn.userMessageId = result.id;
  const cache = new RowCache();

  const rows = arrange([user, call, { ...result, turn_id: 't2' }], [turn], turn, cache);
  turn.parts = [{ type: 'text', text: 'Now' }];

  expect(rows).toHaveLength(2);
  expect(rows[1]?.messageIds).toEqual(['t1-call', 't1-result', 't2-reply']);
  expect(rows[1]?.parts.map(({ type }) => type)).toEqual(['reasoning', 'text', 'call', 'text']);
  expect(arrange([user, call, { ...result, turn_id: 't2' }], [turn], turn, cache)).not.toBe(rows);
});

test('a turn that failed after a step keeps the step, and has no reply', () => {
  const [user] = turnMessages('t1');
  const steps = stepMessages('t1').map((step) => ({ ...step, status: 'failed' as const }));

  const rows = arrange([user, ...steps], [], null, new RowCache());

  expect(rows[1]).toMatchObject({ isStep: true, text: '', status: 'failed' });
});

test('steps do not count for the context', () => {
  const rows = arrange(
    [...withSteps('t1'), message('u', 'user'), stepMessages('t2')[0], ...turnMessages('t3')],
    [],
    null,
    new RowCache(),
  );

  expect(contextStart(rows, 3)).toBe('u');
  expect(contextStart(rows, 4)).toBe('t1-reply');
});
