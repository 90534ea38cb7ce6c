import { expect, test } from 'vitest';
import type { Session } from '../src/api/client';
import { Sessions } from '../src/state/sessions.svelte';
import { eventually } from './chat';
import { json, problem } from './server';
import { server } from './setup';

/** A session whose last activity was in the given minute. */
function session(id: string, minute = 0, more: Partial<Session> = {}): Session {
  const time = new Date(Date.UTC(2026, 2, 2, 10, minute)).toISOString();
  return {
    session_id: id,
    title: `Title of ${id}`,
    title_source: 'message',
    created_at: time,
    updated_at: time,
    message_count: 2,
    pinned: false,
    archived: false,
    ...more,
  } as Session;
}

/** The answer to `GET /sessions`, with a cursor if `after` is given. */
function page(sessions: Session[], after?: string): Response {
  const link = `<http://chatkeep.test/sessions?after=${after}>; rel="next"`;
  return json(sessions, after === undefined ? {} : { headers: { Link: link } });
}

/** Serve these recent and pinned sessions, each as one page. */
function serve(recent: Session[], pinned: Session[] = [], archived: Session[] = []): void {
  server.on('GET /sessions', ({ query }) => {
    if (query.get('archived') === 'true') return page(archived);
    return page(query.get('pinned') === 'true' ? pinned : recent);
  });
}

async function loaded(...lists: Parameters<typeof serve>): Promise<Sessions> {
  serve(...lists);
  const sessions = new Sessions();
  await sessions.load();
  return sessions;
}

const ids = ({ items }: { items: readonly Session[] }) => items.map(({ session_id: id }) => id);
const event = (name: string, data: object) => ({ id: '1', name, data });

test('pages follow each other, and a session that has moved between them is listed once', async () => {
  server.on('GET /sessions', ({ query }) => {
    if (query.get('pinned') === 'true') return page([]);
    if (query.get('after') === 'two') return page([session('b', 2), session('c', 1)]);
    return page([session('a', 3), session('b', 2)], 'two');
  });
  const sessions = new Sessions();
  await sessions.load();
  expect([ids(sessions.recent), sessions.recent.hasMore]).toEqual([['a', 'b'], true]);

  await Promise.all([sessions.recent.loadMore(), sessions.recent.loadMore()]);

  expect([ids(sessions.recent), sessions.recent.hasMore]).toEqual([['a', 'b', 'c'], false]);
  expect(server.requests.filter(({ query }) => query.get('after') === 'two')).toHaveLength(1);
});

test('all pages of pinned sessions are read', async () => {
  server.on('GET /sessions', ({ query }) => {
    if (query.get('pinned') !== 'true') return page([]);
    return query.get('after') ? page([session('b')]) : page([session('a')], 'two');
  });
  const sessions = new Sessions();

  await sessions.load();

  expect(ids(sessions.pinned)).toEqual(['a', 'b']);
});

test('a list that cannot be read says so until it can', async () => {
  server.on('GET /sessions', () => problem(503, 'overloaded'));
  const sessions = new Sessions();
  await sessions.load();
  expect(sessions.recent.error).toMatchObject({ detail: 'Detail of overloaded' });

  serve([session('a')]);
  await sessions.load();
  expect(sessions.recent.error).toBeNull();
  expect(ids(sessions.recent)).toEqual(['a']);
});

test('a page that arrives after the list was read again is dropped', async () => {
  let answer = (_: Response) => {};
  server.on('GET /sessions', ({ query }) => {
    if (query.get('pinned') === 'true') return page([]);
    if (query.get('after')) return new Promise((resolve) => (answer = resolve));
    return page([session('a', 3)], 'two');
  });
  const sessions = new Sessions();
  await sessions.load();
  const more = sessions.recent.loadMore();
  await eventually(() => expect(server.requests).toHaveLength(3));

  serve([session('new', 4)]);
  await sessions.load();
  answer(page([session('old', 1)]));
  await more;

  expect(ids(sessions.recent)).toEqual(['new']);
});

test('a created session comes first, an updated one to where its time belongs', async () => {
  const sessions = await loaded([session('b', 5), session('a', 3)]);

  await sessions.applyEvent(event('session.created', session('c', 6)));
  expect(ids(sessions.recent)).toEqual(['c', 'b', 'a']);
  await sessions.applyEvent(event('session.updated', session('c', 4, { title: 'New' })));

  expect(ids(sessions.recent)).toEqual(['b', 'c', 'a']);
  expect(sessions.find('c')?.title).toBe('New');
});

test('a session that is older than all that were read comes only with its page', async () => {
  server.on('GET /sessions', ({ query }) =>
    query.get('pinned') === 'true' ? page([]) : page([session('b', 5)], 'two'),
  );
  const sessions = new Sessions();
  await sessions.load();

  await sessions.applyEvent(event('session.updated', session('a', 1)));

  expect(ids(sessions.recent)).toEqual(['b']);
});

test('a session moves between the lists when it is pinned or archived', async () => {
  const sessions = await loaded([session('a', 3)]);

  await sessions.applyEvent(event('session.updated', session('a', 3, { pinned: true })));
  expect([ids(sessions.recent), ids(sessions.pinned)]).toEqual([[], ['a']]);
  await sessions.applyEvent(event('session.updated', session('a', 3, { archived: true })));
  expect([ids(sessions.recent), ids(sessions.pinned)]).toEqual([[], []]);
});

test('the archive is read when it is opened, once, and follows events from then on', async () => {
  const sessions = await loaded([session('a', 3)], [], [session('b', 2, { archived: true })]);
  const reads = () => server.requests.filter(({ query }) => query.get('archived') === 'true');
  expect(reads()).toHaveLength(0);

  sessions.openArchive();
  sessions.openArchive();
  await server.idle();
  await sessions.applyEvent(event('session.updated', session('a', 3, { archived: true })));

  expect(reads()).toHaveLength(1);
  expect(ids(sessions.archived)).toEqual(['a', 'b']);
});

test('a new title is shown, and a deleted session is gone', async () => {
  const sessions = await loaded([session('a', 3), session('b', 2)]);

  await sessions.applyEvent(event('session.titled', { session_id: 'a', title: 'Whales' }));
  expect(sessions.find('a')?.title).toBe('Whales');
  await sessions.applyEvent(event('session.deleted', { session_id: 'a' }));

  expect(ids(sessions.recent)).toEqual(['b']);
});

test('a session with a new turn comes first, and is running until the turn ends', async () => {
  const sessions = await loaded([session('b', 5), session('a', 3)]);

  await sessions.applyEvent(event('turn.started', { session_id: 'a' }));
  expect(ids(sessions.recent)).toEqual(['a', 'b']);
  expect([...sessions.running]).toEqual(['a']);
  await sessions.applyEvent(event('turn.ended', { session_id: 'a' }));

  expect([...sessions.running]).toEqual([]);
});

test('a session that was not read yet is read when a turn starts in it', async () => {
  const sessions = await loaded([session('b', 5)]);
  server.on('GET /sessions/a', () => json({ ...session('a', 6), system_prompt: 'Be brief.' }));

  await sessions.applyEvent(event('turn.started', { session_id: 'a' }));

  expect(sessions.recent.items).toEqual([session('a', 6), session('b', 5)]);
});

test('after missed events the whole list is read again', async () => {
  const sessions = await loaded([session('a', 3)]);
  serve([session('b', 5)]);

  await sessions.applyEvent(event('events.missed', {}));

  expect(ids(sessions.recent)).toEqual(['b']);
});

test('a change is shown as the server has stored it', async () => {
  const sessions = await loaded([session('a', 3)]);
  server.on('PATCH /sessions/a', ({ body }) =>
    json({ ...session('a', 3), title: body.title.trim() }),
  );

  await sessions.change('a', { title: ' Whales ' });
  expect(sessions.find('a')?.title).toBe('Whales');

  server.on('PATCH /sessions/a', () => problem(422, 'invalid-request'));
  await expect(sessions.change('a', { title: '' })).rejects.toThrow('Detail of invalid-request');
  expect(sessions.find('a')?.title).toBe('Whales');
});

test('hidden sessions are shown again when their deletion is undone', async () => {
  const sessions = await loaded([session('a', 3), session('b', 2)]);

  sessions.hide(['a', 'b']);
  sessions.unhide(['a']);

  expect([...sessions.hidden]).toEqual(['b']);
  sessions.remove('b');
  expect([...sessions.hidden]).toEqual([]);
});
