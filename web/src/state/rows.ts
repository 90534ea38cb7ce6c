/** The rows of a conversation, in order: stored messages, then the messages of active turns. */

import type { Message, Problem, Status, TurnSummary } from '../api/client';
import type { ActiveTurn } from './activeTurn.svelte';

export interface Row {
  /** Identifies the row from the moment when it is sent; it stays when the message is stored. */
  key: string;
  /** The id of the message; null until the server has announced it. */
  id: string | null;
  role: Message['role'];
  text: string;
  status: Status | 'sending' | 'refused' | 'accepted';
  createdAt: string;
  parentId: string | null;
  /** The ids of all messages with the same parent, this one's too, oldest first. */
  siblings: readonly string[];
  turnId: string | null;
  turn: TurnSummary | null;
  problem: Problem | null;
  /** The turn that is writing the row; null for a stored message. */
  activeTurn: ActiveTurn | null;
}

/** Returns the same row for the same message or turn, and remembers the keys of rows. */
export class RowCache {
  readonly #keys = new Map<string, string>();
  readonly #messageRows = new WeakMap<Message, Row>();
  readonly #turnRows = new WeakMap<ActiveTurn, { user: Row; reply: Row }>();

  /** Let the row of a message use the key under which it was shown before it was stored. */
  setKey(messageId: string | null, key: string): void {
    if (messageId !== null) this.#keys.set(messageId, key);
  }

  forMessage(message: Message): Row {
    let row = this.#messageRows.get(message);
    if (row === undefined) {
      row = {
        key: this.#keys.get(message.id) ?? message.id,
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
        activeTurn: null,
      };
      this.#messageRows.set(message, row);
    }
    return row;
  }

  forTurn(turn: ActiveTurn): { user: Row; reply: Row } {
    let rows = this.#turnRows.get(turn);
    if (rows === undefined) {
      rows = { user: new UserRow(turn), reply: new ReplyRow(turn) };
      this.#turnRows.set(turn, rows);
    }
    return rows;
  }
}

/** A row that reads its fields from an active turn, so that they are always current. */
abstract class ActiveRow implements Row {
  readonly parentId = null;
  readonly siblings: readonly string[] = [];
  readonly turn = null;

  constructor(readonly activeTurn: ActiveTurn) {}

  abstract readonly key: string;
  abstract readonly id: string | null;
  abstract readonly role: 'user' | 'assistant';
  abstract readonly text: string;

  get status() {
    const { phase, status } = this.activeTurn;
    return phase === 'ended' ? status : phase;
  }
  get createdAt() {
    return this.activeTurn.startedAt;
  }
  get turnId() {
    return this.activeTurn.turnId;
  }
  get problem() {
    return this.activeTurn.problem;
  }
}

class UserRow extends ActiveRow {
  readonly role = 'user';
  get key() {
    return `${this.activeTurn.key}?`;
  }
  get id() {
    return this.activeTurn.userMessageId;
  }
  get text() {
    return this.activeTurn.userText ?? '';
  }
}

class ReplyRow extends ActiveRow {
  readonly role = 'assistant';
  get key() {
    return this.activeTurn.key;
  }
  get id() {
    return this.activeTurn.messageId;
  }
  get text() {
    return this.activeTurn.text;
  }
}

/**
 * The rows to show, oldest first. A turn replaces at once what it branches off from, and a message
 * is shown before the server has accepted it.
 *
 * @param history - The stored messages of one branch, oldest first.
 * @param turns - The active turns, in the server's order.
 * @param running - The turn whose reply is being written; the others wait for it.
 * @param cache - Of this conversation, the same for every call.
 */
export function arrange(
  history: readonly Message[],
  turns: readonly ActiveTurn[],
  running: ActiveTurn | null,
  cache: RowCache,
): readonly Row[] {
  for (const turn of turns) cache.setKey(turn.messageId, turn.key);
  let rows: Row[] = history.map((message) => cache.forMessage(message));
  for (const turn of turns) {
    if (turn.messageId !== null && rows.some(({ id }) => id === turn.messageId)) continue;
    const { user, reply } = cache.forTurn(turn);
    const hasEndedEmpty = turn.phase === 'refused' || (turn.phase === 'ended' && turn.text === '');
    // Without a new reply the one before stays; the error is shown below the messages.
    if (hasEndedEmpty && turn.body?.regenerate) continue;
    const userIndex = rows.findLastIndex(({ id }) => id !== null && id === turn.userMessageId);
    if (userIndex >= 0) {
      if (hasEndedEmpty) continue;
      rows = rows.slice(0, userIndex + 1);
    } else if (turn.body?.regenerate) {
      rows = upToUserMessage(rows, turn.body.regenerate);
    } else {
      const parentId = turn.body?.parent_id;
      if (parentId !== undefined)
        rows = rows.slice(0, rows.findLastIndex(({ id }) => id === parentId) + 1);
      rows = [...rows, user];
      cache.setKey(turn.userMessageId, user.key);
    }
    const isWaiting = turn.phase === 'refused' || (running !== null && turn !== running);
    if (turn.phase === 'ended' ? turn.text !== '' : !isWaiting) rows = [...rows, reply];
  }
  return rows;
}

/** The rows up to the user message of a turn; all of them if the turn is not among them. */
function upToUserMessage(rows: Row[], turnId: string): Row[] {
  const index = rows.findLastIndex((row) => row.turnId === turnId);
  const userIndex = index >= 0 && rows[index]?.role !== 'user' ? index - 1 : index;
  return userIndex >= 0 ? rows.slice(0, userIndex + 1) : rows;
}

/**
 * The key of the oldest row that the model will read with the next message: `END` if it reads none,
 * null if it reads all of them. Empty messages and messages without a reply are never read.
 *
 * @param rows - The rows that are shown, oldest first.
 * @param limit - How many previous messages the model reads.
 */
export function contextStart(rows: readonly Row[], limit: number): string | null {
  let left = limit;
  let start: string | null = null;
  for (let index = rows.length - 1; index >= 0; index -= 1) {
    const row = rows[index];
    if (row === undefined) break;
    const reply = rows[index + 1];
    const isUnanswered = row.role === 'user' && (reply === undefined || reply.role === 'user');
    if (isUnanswered || row.text === '') continue;
    if (left === 0) return start ?? END;
    left -= 1;
    start = row.key;
  }
  return null;
}

/** What `contextStart` returns if the model reads none of the rows. */
export const END = 'end';
