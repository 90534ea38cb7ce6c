/** The part of the server's API that a conversation needs, over messages in memory. */

import { vi } from 'vitest';
import type { Message, SessionRecord } from '../src/api/client';
import { EventStream, json, problem } from './server';
import { server } from './setup';

/** Wait for an expectation to hold. */
export const eventually = <T>(check: () => T | Promise<T>) =>
  vi.waitFor(check, { interval: 2, timeout: 2_000 });

export function message(id: string, role: Message['role'], more: Partial<Message> = {}): Message {
  return {
    id,
    role,
    content: `Text of ${id}`,
    blocks: null,
    created_at: '2026-03-02T10:00:00Z',
    parent_id: null,
    siblings: [id],
    status: 'completed',
    turn_id: null,
    turn: null,
    ...more,
  } as Message;
}

/** The messages of a turn `t1`: `t1-user` and `t1-reply`. */
export function turnMessages(turnId: string): [Message, Message] {
  return [
    message(`${turnId}-user`, 'user', { turn_id: turnId }),
    message(`${turnId}-reply`, 'assistant', { turn_id: turnId }),
  ];
}

export const CALL = { type: 'tool_call', id: 'c', name: 'look', args: { at: 'sea' } };
export const RESULT = { type: 'tool_result', tool_call_id: 'c', name: 'look', status: 'success' };

/** The steps of a turn `t1`: a call with reasoning and a text, and its result. */
export function stepMessages(turnId: string): [Message, Message] {
  const blocks = [{ type: 'reasoning', reasoning: 'Hm.' }, { type: 'text', text: 'Wait.' }, CALL];
  return [
    message(`${turnId}-call`, 'assistant', { turn_id: turnId, content: 'Wait.', blocks }),
    message(`${turnId}-result`, 'tool', {
      turn_id: turnId,
      content: 'Waves.',
      created_at: '2026-03-02T10:00:02Z',
      blocks: [RESULT],
    }),
  ];
}

export class ChatServer {
  /** The active branch, oldest first. */
  messages: Message[] = [];
  record = { session_id: 's', queued_turns: [], running_turn: null } as unknown as SessionRecord;
  /** The streams of accepted turns, in the order in which the messages came. */
  readonly streams: EventStream[] = [];
  /** While it is set, histories are read at once but sent when it resolves. */
  historyGate: Promise<void> = Promise.resolve();

  constructor(readonly sessionId = 's') {
    server.on(`GET /sessions/${sessionId}`, () =>
      json({ ...this.record, message_count: this.messages.length }),
    );
    server.on(`GET /history/${sessionId}`, async ({ query }) => {
      const before = query.get('before');
      const end = before === null ? this.messages.length : Number(before);
      const start = Math.max(0, end - Number(query.get('limit')));
      const page = this.messages.slice(start, end);
      await this.historyGate;
      const link = `<http://chatkeep.test/history/s?before=${start}>; rel="prev"`;
      return json(page, start > 0 ? { headers: { Link: link } } : {});
    });
    server.on('POST /chat', () => this.accept());
  }

  /** Accept a message as turn `t1`, `t2`, … and open its stream. */
  accept(): Response {
    const turnId = `t${this.streams.length + 1}`;
    const stream = new EventStream({ 'Content-Location': `/turns/${turnId}/events` });
    this.streams.push(stream);
    server.on(`GET /turns/${turnId}/events`, () => stream.response);
    return stream.response;
  }

  /** Let the stream of a turn, counted from 1, announce its messages. */
  start(turn: number): EventStream {
    const stream = this.streams[turn - 1];
    if (stream === undefined) throw new Error(`There is no turn ${turn}.`);
    stream.send('turn.started', {
      turn_id: `t${turn}`,
      user_message_id: `t${turn}-user`,
      message_id: `t${turn}-reply`,
    });
    return stream;
  }

  /** Store a turn's messages and steps, and let its stream end with the text of the reply. */
  complete(turn: number, steps: readonly Message[] = []): void {
    const stream = this.start(turn);
    const [user, reply] = turnMessages(`t${turn}`);
    this.messages = [...this.messages, user, ...steps, reply];
    stream.send('turn.completed', { turn_id: `t${turn}`, response: `Text of t${turn}-reply` });
    stream.end();
  }

  refuse(status: number, code: string, more: object = {}): void {
    server.on('POST /chat', () => problem(status, code, more));
  }
}
