/** What is shown of a conversation, in its order: stored messages, then what is still going on. */

import type { Message, Problem, Status, TurnSummary } from '../api/client';
import type { Live } from './activeTurn.svelte';

export interface Row {
  /** The same for as long as it is shown, from the first letter typed to the stored message. */
  key: string;
  id: string | null;
  role: Message['role'];
  text: string;
  status: Status | 'sending' | 'refused' | 'accepted';
  createdAt: string;
  parentId: string | null;
  siblings: readonly string[];
  turnId: string | null;
  turn: TurnSummary | null;
  problem: Problem | null;
  live: Live | null;
}

/** The keys of messages that were shown before they were stored. */
export class Keys {
  private readonly of = new Map<string, string>();
  private readonly stored = new WeakMap<Message, Row>();
  private readonly going = new WeakMap<Live, { question: Row; answer: Row }>();

  keep(messageId: string | null, key: string): void {
    if (messageId !== null) this.of.set(messageId, key);
  }

  row(message: Message): Row {
    let row = this.stored.get(message);
    if (row === undefined) {
      row = {
        key: this.of.get(message.id) ?? message.id,
        id: message.id,
        role: message.role,
        text: message.content,
        status: message.status,
        createdAt: message.created_at,
        parentId: message.parent_id,
        siblings: message.siblings,
        turnId: message.turn_id,
        turn: message.turn,
        problem: null,
        live: null,
      };
      this.stored.set(message, row);
    }
    return row;
  }

  rows(live: Live): { question: Row; answer: Row } {
    let rows = this.going.get(live);
    if (rows === undefined) {
      rows = { question: new Asked(live), answer: new Answering(live) };
      this.going.set(live, rows);
    }
    return rows;
  }
}

/** A message of a turn that goes on: it reads what the turn knows by now. */
abstract class Going implements Row {
  readonly parentId = null;
  readonly siblings: readonly string[] = [];
  readonly turn = null;

  constructor(readonly live: Live) {}

  abstract readonly key: string;
  abstract readonly id: string | null;
  abstract readonly role: 'user' | 'assistant';
  abstract readonly text: string;

  get status() {
    const { phase, status } = this.live;
    return phase === 'ended' ? status : phase;
  }
  get createdAt() {
    return this.live.startedAt;
  }
  get turnId() {
    return this.live.turnId;
  }
  get problem() {
    return this.live.problem;
  }
}

class Asked extends Going {
  readonly role = 'user';
  get key() {
    return `${this.live.key}?`;
  }
  get id() {
    return this.live.userMessageId;
  }
  get text() {
    return this.live.question ?? '';
  }
}

class Answering extends Going {
  readonly role = 'assistant';
  get key() {
    return this.live.key;
  }
  get id() {
    return this.live.messageId;
  }
  get text() {
    return this.live.text;
  }
}

/**
 * The rows, oldest first. A turn replaces what it branches off from at once, and what was sent is
 * there before the server says so.
 */
export function arrange(
  history: readonly Message[],
  lives: readonly Live[],
  running: Live | null,
  keys: Keys,
): readonly Row[] {
  for (const live of lives) keys.keep(live.messageId, live.key);
  let rows: Row[] = history.map((message) => keys.row(message));
  for (const live of lives) {
    if (live.messageId !== null && rows.some(({ id }) => id === live.messageId)) continue;
    const { question, answer } = keys.rows(live);
    // Another answer that there is not leaves the one before; it is told elsewhere.
    const isOver = live.phase === 'refused' || (live.phase === 'ended' && live.text === '');
    if (isOver && live.body?.regenerate) continue;
    const asked = rows.findLastIndex(({ id }) => id !== null && id === live.userMessageId);
    if (asked >= 0) {
      if (isOver) continue;
      rows = rows.slice(0, asked + 1);
    } else if (live.body?.regenerate) {
      const of = rows.findLastIndex(({ turnId }) => turnId === live.body?.regenerate);
      const from = of >= 0 && rows[of]?.role !== 'user' ? of - 1 : of;
      if (from >= 0) rows = rows.slice(0, from + 1);
    } else {
      const parent = live.body?.parent_id;
      if (parent !== undefined)
        rows = rows.slice(0, rows.findLastIndex(({ id }) => id === parent) + 1);
      rows = [...rows, question];
      keys.keep(live.userMessageId, question.key);
    }
    const waits = live.phase === 'refused' || (running !== null && live !== running);
    if (live.phase === 'ended' ? live.text !== '' : !waits) rows = [...rows, answer];
  }
  return rows;
}

/**
 * The key of the oldest row that the model reads with the next message, when it reads `most` earlier
 * ones; null if it reads all that is shown. A message without an answer is none of them.
 */
export function contextStart(rows: readonly Row[], most: number): string | null {
  let left = most;
  let start: string | null = null;
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index];
    if (row === undefined) break;
    const reply = rows[index + 1];
    const unanswered = row.role === 'user' && (reply === undefined || reply.role === 'user');
    if (unanswered || row.text === '') continue;
    if (left === 0) return start ?? END;
    left -= 1;
    start = row.key;
  }
  return null;
}

/** Stands for the end of the rows: the model reads none of them. */
export const END = 'end';
