import { afterEach, expect, test, vi } from 'vitest';
import { Conversation } from '../src/state/conversation.svelte';
import { readOutbox } from '../src/state/outbox';
import { ChatServer, eventually, message, stepMessages, turnMessages } from './chat';
import { EventStream, json, problem } from './server';
import { server } from './setup';

afterEach(() => vi.useRealTimers());

const texts = (conversation: Conversation) => conversation.rows.map(({ text }) => text);

/** A conversation that has been read, with the server behind it. */
async function loaded(turns: string[] = []): Promise<[Conversation, ChatServer]> {
  const chat = new ChatServer();
  chat.messages = turns.flatMap(turnMessages);
  const conversation = new Conversation('s');
  await conversation.load();
  return [conversation, chat];
}

/** A promise and the function that resolves it. */
function gate(): [Promise<void>, () => void] {
  let open = () => {};
  const promise = new Promise<void>((resolve) => (open = resolve));
  return [promise, open];
}

const posts = () => server.received('POST /chat');

test('a short conversation is read whole, page by page', async () => {
  const chat = new ChatServer();
  chat.messages = Array.from({ length: 180 }, (_, index) => message(`m${index}`, 'user'));
  const conversation = new Conversation('s');

  await conversation.load();
  await eventually(() => expect(conversation.hasOlder).toBe(false));

  expect(conversation.isWhole).toBe(true);
  expect(conversation.rows.map(({ id }) => id)).toEqual(chat.messages.map(({ id }) => id));
});

test('a long conversation is read from its end, and further when it is scrolled', async () => {
  const chat = new ChatServer();
  chat.messages = Array.from({ length: 500 }, (_, index) => message(`m${index}`, 'user'));
  const conversation = new Conversation('s');

  await conversation.load();
  expect([conversation.isWhole, conversation.rows.length]).toEqual([false, 50]);
  await Promise.all([conversation.loadOlder(), conversation.loadOlder()]);

  expect(conversation.rows.map(({ id }) => id)).toEqual(
    chat.messages.slice(350).map(({ id }) => id),
  );
  expect(server.received('GET /history/s')).toHaveLength(2);
});

test('an unknown session is missing, and a server that fails is not', async () => {
  const missing = new Conversation('unknown');
  await missing.load();
  expect(missing.state).toBe('missing');

  new ChatServer();
  server.on('GET /history/s', () => problem(503, 'overloaded'));
  const failed = new Conversation('s');
  await failed.load();
  expect(failed.state).toBe('failed');
  expect(failed.problem).toMatchObject({ detail: 'Detail of overloaded' });
});

test('a reply grows while it arrives, and is then the stored one', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Text of t1-user');
  expect(texts(conversation)).toEqual(['Text of t1-user', '']);

  await eventually(() => chat.start(1));
  chat.streams[0]!.send('message.delta', { text: 'Text ' });
  await eventually(() => expect(texts(conversation).at(-1)).toBe('Text '));
  chat.streams[0]!.send('message.delta', { text: 'of' });
  await eventually(() => expect(texts(conversation).at(-1)).toBe('Text of'));
  chat.complete(1);

  await eventually(() => expect(conversation.activeTurns).toEqual([]));
  expect(texts(conversation)).toEqual(['Text of t1-user', 'Text of t1-reply']);
});

test('a restarted turn shows its text from the beginning', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Hello');
  await eventually(() => chat.start(1).send('message.delta', { text: 'Half a' }));
  await eventually(() => expect(texts(conversation).at(-1)).toBe('Half a'));

  chat.streams[0]!.send('turn.restarted', {});
  chat.streams[0]!.send('message.delta', { text: 'All' });

  await eventually(() => expect(texts(conversation).at(-1)).toBe('All'));
});

const reply = (conversation: Conversation) => conversation.rows.at(-1)!;

/** The parts of the reply, in which reasoning is in brackets and a call is its result. */
const parts = (conversation: Conversation) =>
  reply(conversation).parts.map((part) => {
    if (part.type === 'reasoning') return `(${part.text})`;
    if (part.type === 'text') return part.text;
    return part.type === 'call' ? (part.result?.text ?? 'running') : part.type;
  });

test('the work of a turn is seen as it happens, and is the same when it is stored', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Text of t1-user');
  const [call, result] = stepMessages('t1');
  const stream = await eventually(() => chat.start(1));
  const { key } = reply(conversation);

  stream.send('reasoning.delta', { text: 'H' });
  await eventually(() => expect(parts(conversation)).toEqual(['(H)']));
  stream.send('reasoning.delta', { text: 'm.' });
  stream.send('message.delta', { text: 'Wait.' });
  await eventually(() => expect(parts(conversation)).toEqual(['(Hm.)', 'Wait.']));
  stream.send('message.completed', call);
  await eventually(() => expect(parts(conversation)).toEqual(['(Hm.)', 'Wait.', 'running']));
  const [first] = reply(conversation).parts;
  stream.send('message.delta', { text: 'Text of' });
  await eventually(() =>
    expect(parts(conversation)).toEqual(['(Hm.)', 'Wait.', 'running', 'Text of']),
  );
  // Parts that are complete are not rendered again.
  expect(reply(conversation).parts[0]).toBe(first);
  expect(reply(conversation).text).toBe('Text of');

  stream.send('turn.restarted', {});
  await eventually(() => expect(parts(conversation)).toEqual([]));
  stream.send('message.completed', call);
  stream.send('message.completed', result);
  stream.send('message.delta', { text: 'Text of t1-reply' });
  const all = ['(Hm.)', 'Wait.', 'Waves.', 'Text of t1-reply'];
  await eventually(() => expect(parts(conversation)).toEqual(all));

  chat.complete(1, [call, result]);
  await eventually(() => expect(conversation.activeTurns).toEqual([]));
  expect(parts(conversation)).toEqual(all);
  expect(reply(conversation).key).toBe(key);
  expect(texts(conversation)).toEqual(['Text of t1-user', 'Text of t1-reply']);
});

test('a turn whose connection breaks between its steps is read on after the last one', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Text of t1-user');
  const [call, result] = stepMessages('t1');
  const stream = await eventually(() => chat.start(1));
  stream.send('message.completed', call);
  await eventually(() => expect(parts(conversation)).toHaveLength(3));

  const second = new EventStream();
  server.on('GET /turns/t1/events', () => second.response);
  stream.breakOff();
  await eventually(() => expect(server.received('GET /turns/t1/events')).toHaveLength(1));
  second.send('message.completed', result);

  await eventually(() => expect(parts(conversation)).toEqual(['(Hm.)', 'Wait.', 'Waves.']));
  expect(server.received('GET /turns/t1/events')[0]?.headers.get('Last-Event-ID')).toBe('2');
});

test('a turn that ends with a call shows it, with the reasoning before it', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Text of t1-user');
  const [call] = stepMessages('t1');
  const stream = await eventually(() => chat.start(1));
  const [reading, read] = gate();
  chat.historyGate = reading;
  stream.send('turn.completed', { turn_id: 't1', response: 'Wait.', blocks: call.blocks });

  await eventually(() => expect(parts(conversation)).toEqual(['(Hm.)', 'Wait.', 'running']));
  expect(reply(conversation)).toMatchObject({ status: 'completed', isStep: true });
  read();
});

test('a turn that failed after a step shows the step until the history is read', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Text of t1-user');
  const [call] = stepMessages('t1');
  const stream = await eventually(() => chat.start(1));
  const [reading, read] = gate();
  chat.historyGate = reading;
  chat.messages = [turnMessages('t1')[0], { ...call, status: 'failed' }];
  stream.send('message.completed', call);
  stream.send('turn.failed', { type: '/problems/model-failed', text: '' });
  stream.end();

  await eventually(() => expect(reply(conversation).status).toBe('failed'));
  expect(parts(conversation)).toEqual(['(Hm.)', 'Wait.', 'running']);
  read();
  await eventually(() => expect(conversation.activeTurns).toEqual([]));
});

test('many steps are read together with their reply', async () => {
  const [conversation, chat] = await loaded(['a']);
  conversation.send('Text of t1-user');
  const stream = await eventually(() => chat.start(1));
  const steps = Array.from({ length: 40 }, (_, index) => stepMessages(`step${index}`)).flat();
  for (const step of steps) stream.send('message.completed', step);
  await eventually(() => expect(parts(conversation)).toHaveLength(120));
  chat.complete(1, steps);

  await eventually(() => expect(conversation.activeTurns).toEqual([]));
  expect(texts(conversation)).toEqual([
    'Text of a-user',
    'Text of a-reply',
    'Text of t1-user',
    'Text of t1-reply',
  ]);
  expect(conversation.history).toHaveLength(84);
});

test('pictures are sent with a message, and are not stored in the browser', async () => {
  const [conversation, chat] = await loaded();
  server.on('POST /chat', () => new Promise(() => {}));
  const images = ['data:image/png;base64,AAAA'];
  conversation.send('Look', { images });

  await eventually(() => expect(posts()).toHaveLength(1));
  expect(posts()[0]?.body).toMatchObject({ message: 'Look', images });
  expect(readOutbox()).toEqual([]);
  expect(conversation.rows[0]?.parts).toEqual([
    { type: 'text', text: 'Look' },
    { type: 'files', files: [{ type: 'image', fileId: null, url: images[0], name: null }] },
  ]);
  expect(chat.messages).toEqual([]);
});

test('a turn whose connection breaks is read on after its last event', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Text of t1-user');
  await eventually(() => chat.start(1).send('message.delta', { text: 'Text' }));
  await eventually(() => expect(texts(conversation).at(-1)).toBe('Text'));

  const second = new EventStream();
  server.on('GET /turns/t1/events', () => second.response);
  chat.streams[0]!.breakOff();
  await eventually(() => expect(server.received('GET /turns/t1/events')).toHaveLength(1));
  second.send('message.delta', { text: ' goes on' });

  await eventually(() => expect(texts(conversation).at(-1)).toBe('Text goes on'));
  expect(server.received('GET /turns/t1/events')[0]?.headers.get('Last-Event-ID')).toBe('2');
});

test('messages are sent one after the other, in the order in which they were written', async () => {
  const [conversation, chat] = await loaded();
  const [accepting, accept] = gate();
  server.on('POST /chat', async () => {
    await accepting;
    return chat.accept();
  });

  for (const text of ['one', 'two', 'three']) conversation.send(text);
  await eventually(() => expect(posts()).toHaveLength(1));
  accept();
  await eventually(() => expect(posts()).toHaveLength(3));

  expect(posts().map(({ body }) => body.message)).toEqual(['one', 'two', 'three']);
  expect(texts(conversation)).toEqual(['one', '', 'two', 'three']);
});

test('a queued turn holds no connection until the turn before it has ended', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Text of t1-user');
  conversation.send('Text of t2-user');
  await eventually(() => expect(chat.streams[1]?.isClosed).toBe(true));
  expect(server.received('GET /turns/t2/events')).toHaveLength(0);
  const second = new EventStream();
  server.on('GET /turns/t2/events', () => second.response);

  chat.complete(1);
  await eventually(() => expect(server.received('GET /turns/t2/events')).toHaveLength(1));
  second.send('message.delta', { text: 'Second' });

  await eventually(() =>
    expect(texts(conversation)).toEqual([
      'Text of t1-user',
      'Text of t1-reply',
      'Text of t2-user',
      'Second',
    ]),
  );
});

test('a history that arrives late and is out of date removes nothing', async () => {
  const [conversation, chat] = await loaded();
  const [late, release] = gate();
  chat.historyGate = late;
  conversation.send('Text of t1-user');
  await eventually(() => chat.complete(1));
  const reads = () => server.received('GET /history/s').length;
  await eventually(() => expect(reads()).toBe(2));

  // The request above has read the first turn only; the next one reads both and overtakes it.
  chat.historyGate = Promise.resolve();
  conversation.send('Text of t2-user');
  await eventually(() => chat.complete(2));
  await eventually(() => expect(conversation.activeTurns).toEqual([]));
  const both = ['Text of t1-user', 'Text of t1-reply', 'Text of t2-user', 'Text of t2-reply'];
  expect(texts(conversation)).toEqual(both);

  release();
  await server.idle();
  expect(texts(conversation)).toEqual(both);
});

test('replies that come faster than the history is read stay in their order', async () => {
  const [conversation, chat] = await loaded();
  const turns = [1, 2, 3, 4, 5, 6];
  const [reading, read] = gate();
  chat.historyGate = reading;
  const expected = turns.flatMap((turn) => [`Text of t${turn}-user`, `Text of t${turn}-reply`]);

  for (const turn of turns) conversation.send(`Text of t${turn}-user`);
  await eventually(() => expect(chat.streams).toHaveLength(turns.length));
  for (const turn of turns) {
    const stream = new EventStream();
    if (turn > 1) {
      chat.streams[turn - 1] = stream;
      server.on(`GET /turns/t${turn}/events`, () => stream.response);
    }
    chat.complete(turn);
  }
  await eventually(() => expect(texts(conversation)).toEqual(expected));
  read();

  await eventually(() => expect(conversation.activeTurns).toEqual([]));
  expect(texts(conversation)).toEqual(expected);
});

/** Complete a turn, and store more than a page of later messages before the history is read. */
async function overtaken(stored: number): Promise<[Conversation, ChatServer]> {
  const chat = new ChatServer();
  chat.messages = Array.from({ length: stored }, (_, index) => message(`m${index}`, 'user'));
  const conversation = new Conversation('s');
  await conversation.load();
  await eventually(() => expect(conversation.hasOlder).toBe(stored > 400));
  conversation.send('Text of t1-user');
  const stream = await eventually(() => chat.start(1));
  const later = [...'abcdefghijklmnopqrstuvwxyz'].flatMap((letter) => turnMessages(`u${letter}`));
  chat.messages = [...chat.messages, ...turnMessages('t1'), ...later];
  stream.send('turn.completed', { turn_id: 't1', response: 'Text of t1-reply' });
  stream.end();
  await eventually(() => expect(conversation.activeTurns).toEqual([]));
  return [conversation, chat];
}

test('if more than a page is new, a conversation that is whole stays whole', async () => {
  const [conversation, chat] = await overtaken(10);

  await eventually(() => expect(conversation.rows.length).toBe(chat.messages.length));
  expect(conversation.rows.map(({ id }) => id)).toEqual(chat.messages.map(({ id }) => id));
});

test('if more than a page is new, a long conversation ends with its newest messages', async () => {
  const [conversation, chat] = await overtaken(500);

  expect(conversation.rows.map(({ id }) => id)).toEqual(
    chat.messages.slice(-50).map(({ id }) => id),
  );
});

test('a message survives a reload, and is sent again under the same key', async () => {
  const chat = new ChatServer();
  server.on('POST /chat', () => new Promise(() => {}));
  const before = new Conversation('s');
  await before.load();
  before.send('Hello');
  await eventually(() => expect(posts()).toHaveLength(1));

  // A reload loses everything but the session storage.
  server.on('POST /chat', () => chat.accept());
  const after = new Conversation('s');
  await after.load();
  expect(texts(after)).toEqual(['Hello', '']);
  await eventually(() => expect(posts()).toHaveLength(2));

  const keys = posts().map(({ headers }) => headers.get('Idempotency-Key'));
  expect(keys[0]).toBeTruthy();
  expect(keys[1]).toBe(keys[0]);
  await eventually(() => expect(readOutbox()).toEqual([]));
  await after.load();
  expect(posts()).toHaveLength(2);
});

test('the first message of a session that the server never got survives a reload', async () => {
  server.on('POST /chat', () => new Promise(() => {}));
  new Conversation('s').startSession('Hello', {});
  await eventually(() => expect(posts()).toHaveLength(1));

  const after = new Conversation('s');
  await after.load();

  expect(after.state).toBe('ready');
  expect(texts(after)).toEqual(['Hello', '']);
});

test('a refused message stays with its problem, and can be sent again under its key', async () => {
  const [conversation, chat] = await loaded();
  chat.refuse(422, 'invalid-request');
  conversation.send('Hello');

  await eventually(() => expect(conversation.rows[0]?.status).toBe('refused'));
  expect(conversation.rows).toHaveLength(1);
  expect(conversation.rows[0]?.problem?.title).toBe('Title of invalid-request');
  expect(posts()).toHaveLength(1);

  server.on('POST /chat', () => chat.accept());
  conversation.retry(conversation.rows[0]!.activeTurn!);
  await eventually(() => expect(conversation.rows[0]?.status).toBe('accepted'));

  const keys = posts().map(({ headers }) => headers.get('Idempotency-Key'));
  expect(new Set(keys).size).toBe(1);
  expect(readOutbox()).toEqual([]);
});

test('a refused message that is discarded is gone, also after a reload', async () => {
  const [conversation, chat] = await loaded();
  chat.refuse(422, 'invalid-request');
  conversation.send('Hello');
  await eventually(() => expect(conversation.rows[0]?.status).toBe('refused'));

  conversation.discard(conversation.rows[0]!.activeTurn!);

  expect(conversation.rows).toEqual([]);
  const after = new Conversation('s');
  await after.load();
  expect(after.rows).toEqual([]);
});

test('a message is sent again after the pause that an overloaded server demands', async () => {
  const [conversation, chat] = await loaded();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  chat.refuse(503, 'overloaded', { retry_after: 7 });
  conversation.send('Hello');
  await vi.advanceTimersByTimeAsync(0);
  expect(conversation.isRetrying).toBe(true);
  expect(conversation.rows[0]?.activeTurn?.retryReason).toBe('Detail of overloaded');

  server.on('POST /chat', () => chat.accept());
  await vi.advanceTimersByTimeAsync(6_999);
  expect(posts()).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(1);
  expect(posts()).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(0);

  expect(conversation.rows[0]?.status).toBe('accepted');
  expect(conversation.isRetrying).toBe(false);
  const keys = posts().map(({ headers }) => headers.get('Idempotency-Key'));
  expect(new Set(keys).size).toBe(1);
});

test('a message is sent again as soon as the network is back', async () => {
  const [conversation, chat] = await loaded();
  server.on('POST /chat', () => Promise.reject(new TypeError('Failed to fetch')));
  conversation.send('Hello');
  await eventually(() => expect(conversation.isRetrying).toBe(true));
  expect(conversation.rows[0]?.activeTurn?.retryReason).toBe('The server cannot be reached.');

  server.on('POST /chat', () => chat.accept());
  dispatchEvent(new Event('online'));

  await eventually(() => expect(conversation.rows[0]?.status).toBe('accepted'));
});

test('a message that cannot be sent for long is refused, and stays', async () => {
  const [conversation] = await loaded();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  server.on('POST /chat', () => Promise.reject(new TypeError('Failed to fetch')));
  conversation.send('Hello');

  await vi.advanceTimersByTimeAsync(10 * 60_000);

  expect(posts()).toHaveLength(21);
  expect(conversation.rows.map(({ text, status }) => [text, status])).toEqual([
    ['Hello', 'refused'],
  ]);
});

test('a change of the session is shown at once, and undone if the server refuses it', async () => {
  const [conversation] = await loaded();
  server.on('PATCH /sessions/s', () => problem(422, 'invalid-request'));

  const change = conversation.change({ model: 'openai:any' });
  expect(conversation.record?.model).toBe('openai:any');

  await expect(change).rejects.toThrow('Detail of invalid-request');
  expect(conversation.record?.model).not.toBe('openai:any');
});

test('a message waits for the change before it', async () => {
  const [conversation, chat] = await loaded();
  const [changing, change] = gate();
  server.on('PATCH /sessions/s', async () => {
    await changing;
    return json(chat.record);
  });

  void conversation.change({ model: 'openai:any' });
  conversation.send('Hello');
  await eventually(() => expect(server.received('PATCH /sessions/s')).toHaveLength(1));
  expect(posts()).toHaveLength(0);
  change();

  await eventually(() => expect(posts()).toHaveLength(1));
});

test('a new session gets its settings with and after its first message', async () => {
  const chat = new ChatServer();
  server.on('PATCH /sessions/s', () => json(chat.record));
  const settings = { model: 'openai:any', temperature: null, context_messages: 3 };

  new Conversation('s').startSession('Hello', settings);
  await eventually(() => expect(server.received('PATCH /sessions/s')).toHaveLength(1));

  expect(posts()[0]?.body).toEqual({ session_id: 's', message: 'Hello', model: 'openai:any' });
  const change = { model: 'openai:any', context_messages: 3 };
  expect(server.received('PATCH /sessions/s')[0]?.body).toEqual(change);
});

test('the previous reply stays when another one is refused', async () => {
  const [conversation, chat] = await loaded(['t1']);
  const before = texts(conversation);
  chat.refuse(429, 'rate-limited');

  conversation.regenerate('t1');
  expect(texts(conversation)).toEqual(['Text of t1-user', '']);

  await eventually(() => expect(conversation.regenerateFailure?.turnId).toBe('t1'));
  expect(texts(conversation)).toEqual(before);
  expect(conversation.regenerateFailure?.problem.title).toBe('Title of rate-limited');
  expect(readOutbox()).toEqual([]);
});

test('a failed turn shows its problem', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Hello');
  const error = { title: 'Too long', detail: 'The conversation is too long.', status: 400 };

  await eventually(() => chat.start(1).send('turn.failed', { turn_id: 't1', ...error }));

  await eventually(() => expect(conversation.rows[0]?.status).toBe('failed'));
  expect(conversation.rows[0]?.problem).toMatchObject(error);
});

test('stopping before the message is accepted cancels its turn', async () => {
  const [conversation, chat] = await loaded();
  const [accepting, accept] = gate();
  server.on('POST /chat', async () => {
    await accepting;
    return chat.accept();
  });
  conversation.send('Hello');
  expect(conversation.busy).toBe(true);

  const stopped = conversation.stop();
  accept();
  await stopped;

  expect(server.received('POST /turns/t1/cancel')).toHaveLength(1);
});

test('a turn that was sent from elsewhere is shown with its message', async () => {
  const [conversation] = await loaded();
  const stream = new EventStream();
  server.on('GET /turns/t1/events', () => stream.response);
  server.on('GET /turns/t1', () =>
    json({
      turn_id: 't1',
      user_message_id: 't1-user',
      message_id: 't1-reply',
      messages: [{ role: 'user', content: 'From elsewhere' }],
    }),
  );

  await conversation.applyEvent({
    id: '1',
    name: 'turn.started',
    data: { session_id: 's', turn_id: 't1' },
  });
  await eventually(() => expect(texts(conversation)).toEqual(['From elsewhere', '']));
  stream.send('message.delta', { text: 'Reply' });

  await eventually(() => expect(texts(conversation)).toEqual(['From elsewhere', 'Reply']));
});

test('a message that was sent from here is not shown again by its event', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Hello');
  const data = { session_id: 's', turn_id: 't1' };

  await conversation.applyEvent({ id: '1', name: 'turn.started', data });
  chat.start(1);

  expect(texts(conversation)).toEqual(['Hello', '']);
  expect(server.received('GET /turns/t1')).toHaveLength(0);
});

test('a branch is viewed read-only, and the active one comes back', async () => {
  const [conversation, chat] = await loaded(['t1']);
  const active = texts(conversation);
  chat.messages = [message('other', 'user')];

  await conversation.loadMessage('other');
  expect(conversation.viewedMessageId).toBe('other');
  expect(texts(conversation)).toEqual(['Text of other']);
  expect(server.received('GET /history/s').at(-1)?.query.get('head')).toBe('other');
  expect(server.received('PATCH /sessions/s')).toHaveLength(0);

  chat.messages = turnMessages('t1');
  await conversation.viewBranch(null);
  expect(texts(conversation)).toEqual(active);
});

test('a deleted session is missing', async () => {
  const [conversation] = await loaded(['t1']);

  await conversation.applyEvent({ id: '1', name: 'session.deleted', data: { session_id: 's' } });

  expect(conversation.state).toBe('missing');
});

test('a conversation that is left still sends its message, and then reads no more', async () => {
  const [conversation, chat] = await loaded();
  conversation.send('Hello');
  conversation.detach();

  await eventually(() => expect(chat.streams[0]?.isClosed).toBe(true));

  expect(posts()).toHaveLength(1);
  expect(readOutbox()).toEqual([]);
});
