import { afterEach, expect, test, vi } from 'vitest';
import { Problem } from '../src/api/client';
import { readEvents, subscribe, type ServerEvent } from '../src/api/stream';
import { eventually } from './chat';
import { EventStream, problem } from './server';
import { server } from './setup';

afterEach(() => {
  vi.useRealTimers();
  Object.assign(document, { hidden: false });
});

function response(chunks: Uint8Array[]): Response {
  return new Response(
    new ReadableStream<Uint8Array>({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk);
        controller.close();
      },
    }),
  );
}

async function all(events: AsyncIterable<ServerEvent>): Promise<ServerEvent[]> {
  const list: ServerEvent[] = [];
  for await (const event of events) list.push(event);
  return list;
}

const bytes = (text: string) => new TextEncoder().encode(text);

const TEXT =
  'id: 1\nevent: message.delta\ndata: {"text": "Grüße 👋🏽"}\n\n' +
  ': a comment\n\n' +
  'id: 2\nevent: message.delta\ndata: {"text":\ndata: "世界"}\n\n';
const EVENTS = [
  { id: '1', name: 'message.delta', data: { text: 'Grüße 👋🏽' } },
  { id: '2', name: 'message.delta', data: { text: '世界' } },
];

test.each(['\n', '\r\n'])(
  'events are the same wherever their bytes are cut, with lines that end in %j',
  async (lineEnd) => {
    const data = bytes(TEXT.replaceAll('\n', lineEnd));
    for (let cut = 0; cut <= data.length; cut += 1) {
      const events = await all(readEvents(response([data.slice(0, cut), data.slice(cut)])));
      expect(events, `cut at ${cut}`).toEqual(EVENTS);
    }
    const single = Array.from(data, (_, index) => data.slice(index, index + 1));
    expect(await all(readEvents(response(single)))).toEqual(EVENTS);
  },
);

test('comments and events without an id or a name are not events of the page', async () => {
  const text = ': ping\n\ndata: {}\n\nevent: x\ndata: {}\n\nid: 9\ndata: {}\n\n';

  expect(await all(readEvents(response([bytes(text)])))).toEqual([]);
});

test('an event that is cut off by the end of the response is dropped', async () => {
  const text = TEXT.slice(0, -1);

  expect(await all(readEvents(response([bytes(text)])))).toEqual(EVENTS.slice(0, 1));
});

test('a subscription continues after the last event when its connection is lost', async () => {
  const streams: EventStream[] = [];
  server.on('GET /turns/t/events', () => {
    const stream = new EventStream();
    streams.push(stream);
    return stream.response;
  });
  const changes: boolean[] = [];
  const events = all(
    subscribe('/turns/t/events', {
      signal: new AbortController().signal,
      onConnectionChange: (isConnected) => changes.push(isConnected),
    }),
  );

  await eventually(() => streams[0]!.send('message.delta', { text: 'Hel' }));
  await eventually(() => expect(changes).toEqual([true]));
  streams[0]!.breakOff();
  await eventually(() => streams[1]!.send('turn.completed', { response: 'Hello' }));

  expect((await events).map(({ name }) => name)).toEqual(['message.delta', 'turn.completed']);
  expect(changes).toEqual([true, false, true]);
  const ids = server
    .received('GET /turns/t/events')
    .map(({ headers }) => headers.get('Last-Event-ID'));
  expect(ids).toEqual([null, '1']);
});

test('a subscription waits longer after each failure, up to eight seconds', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  server.on('GET /events', () => problem(503, 'overloaded'));
  const controller = new AbortController();
  const events = all(subscribe('/events', { signal: controller.signal }));
  const attempts = () => server.received('GET /events').length;

  await vi.advanceTimersByTimeAsync(0);
  for (const milliseconds of [250, 500, 1_000, 2_000, 4_000, 8_000, 8_000]) {
    const before = attempts();
    await vi.advanceTimersByTimeAsync(milliseconds - 1);
    expect(attempts()).toBe(before);
    await vi.advanceTimersByTimeAsync(1);
    expect(attempts()).toBe(before + 1);
  }

  controller.abort();
  expect(await events).toEqual([]);
});

test('a connection that has brought an event is opened again after the shortest pause', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  server.on('GET /events', () => {
    const stream = new EventStream();
    stream.send('session.created', {});
    stream.end();
    return stream.response;
  });
  const controller = new AbortController();
  const events = all(subscribe('/events', { signal: controller.signal }));

  await vi.advanceTimersByTimeAsync(0);
  for (const attempts of [2, 3, 4, 5]) {
    await vi.advanceTimersByTimeAsync(250);
    expect(server.requests).toHaveLength(attempts);
  }

  controller.abort();
  expect(await events).toHaveLength(5);
});

test('a subscription to a turn that does not exist fails', async () => {
  const events = all(subscribe('/turns/no/events', { signal: new AbortController().signal }));

  await expect(events).rejects.toThrow(Problem);
});

test('a connection that is idle for longer than the server promises is opened again', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const streams: EventStream[] = [];
  server.on('GET /events', () => {
    const stream = new EventStream();
    streams.push(stream);
    return stream.response;
  });
  const controller = new AbortController();
  const events = all(subscribe('/events', { signal: controller.signal }));

  await vi.advanceTimersByTimeAsync(39_000);
  streams[0]!.send('session.created', {});
  await vi.advanceTimersByTimeAsync(39_000);
  expect(streams).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(2_000);

  expect(streams).toHaveLength(2);
  expect(streams[0]!.isClosed).toBe(true);
  controller.abort();
  expect(await events).toHaveLength(1);
});

test('a hidden page closes its connection, and opens it again when it is visible', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  server.on('GET /events', () => new EventStream().response);
  const controller = new AbortController();
  const changes: boolean[] = [];
  const onConnectionChange = (isConnected: boolean) => changes.push(isConnected);
  const events = all(subscribe('/events', { signal: controller.signal, onConnectionChange }));
  const show = (visible: boolean) => {
    Object.assign(document, { hidden: !visible });
    document.dispatchEvent(new Event('visibilitychange'));
  };
  await vi.advanceTimersByTimeAsync(0);

  show(false);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(server.requests).toHaveLength(1);
  show(true);
  await vi.advanceTimersByTimeAsync(1_000);

  expect(server.requests).toHaveLength(2);
  expect(changes).toEqual([true, true]);
  controller.abort();
  await events;
});
