/**
 * The rows of a conversation, in order: stored messages, then the messages of active turns. The steps
 * on the way to a reply are in the row of the reply.
 */

import type { Message, Problem, Status, TurnSummary } from '../api/client';
import type { ActiveTurn } from './activeTurn.svelte';
import { isStep, partsOf, textOf, type Part } from './parts';

export interface Row {
  /** Identifies the row from the moment when it is sent; it stays when the message is stored. */
  key: string;
  /** The id of the message, of several the last one; null until the server has announced it. */
  id: string | null;
  /** The ids of all messages in the row. */
  messageIds: readonly string[];
  role: Message['role'];
  /** The text of the last message, without its steps. */
  text: string;
  /** Everything in the row, in order. */
  parts: readonly Part[];
  /** Whether the last message is a step: there is no reply, or none yet. */
  isStep: boolean;
  status: Status | 'sending' | 'refused' | 'accepted';
  createdAt: string;
  parentId: string | null;
  /** The messages of the row that have others beside them. */
  branches: readonly Branch[];
  turnId: string | null;
  turn: TurnSummary | null;
  problem: Problem | null;
  /** The turn that is writing the row; null for stored messages. */
  activeTurn: ActiveTurn | null;
}

/** A message, and all messages with the same parent, this one too, oldest first. */
export interface Branch {
  id: string;
  siblings: readonly string[];
}

/** Returns the same row for the same messages or turn, and remembers the keys of rows. */
export class RowCache {
  readonly #keys = new Map<string, string>();
  readonly #messageRows = new WeakMap<Message, { messages: readonly Message[]; row: Row }>();
  readonly #turnRows = new WeakMap<ActiveTurn, { user: UserRow; reply: ReplyRow }>();

  /** Let the row of a message use the key under which it was shown before it was stored. */
  setKey(messageId: string | null, key: string): void {
    if (messageId !== null) this.#keys.set(messageId, key);
  }

  /** The row of a message, or of a reply and the steps before it. */
  forMessages(messages: readonly [Message, ...Message[]]): Row {
    const last = messages.at(-1) ?? messages[0];
    const cached = this.#messageRows.get(last);
    if (cached && isSameList(cached.messages, messages)) return cached.row;
    const row: Row = {
      key: this.#keys.get(last.id) ?? last.id,
      id: last.id,
      messageIds: messages.map(({ id }) => id),
      // A result that nothing follows is a part of the reply that is not there.
      role: last.role === 'tool' ? 'assistant' : last.role,
      text: last.role === 'tool' ? '' : textOf(last),
      parts: partsOf(messages),
      isStep: isStep(last),
      status: last.status,
      createdAt: last.created_at,
      parentId: last.parent_id,
      branches: messages.filter(({ siblings }) => siblings.length > 1),
      turnId: last.turn_id,
      turn: last.turn,
      problem: null,
      activeTurn: null,
    };
    this.#messageRows.set(last, { messages, row });
    return row;
  }

  forUser(turn: ActiveTurn): UserRow {
    return this.#forTurn(turn).user;
  }

  /** The row of a turn's reply, with the steps of earlier turns on the way to it. */
  forReply(turn: ActiveTurn, earlier: readonly Message[] = []): ReplyRow {
    const rows = this.#forTurn(turn);
    if (!isSameList(rows.reply.earlier, earlier)) rows.reply = new ReplyRow(turn, earlier);
    return rows.reply;
  }

  #forTurn(turn: ActiveTurn): { user: UserRow; reply: ReplyRow } {
    let rows = this.#turnRows.get(turn);
    if (rows === undefined) {
      rows = { user: new UserRow(turn), reply: new ReplyRow(turn, []) };
      this.#turnRows.set(turn, rows);
    }
    return rows;
  }
}

/** A row that reads its fields from an active turn, so that they are always current. */
abstract class ActiveRow implements Row {
  readonly parentId = null;
  readonly branches: readonly Branch[] = [];
  readonly turn = null;

  constructor(readonly activeTurn: ActiveTurn) {}

  abstract readonly key: string;
  abstract readonly id: string | null;
  abstract readonly messageIds: readonly string[];
  abstract readonly role: 'user' | 'assistant';
  abstract readonly text: string;
  abstract readonly parts: readonly Part[];
  abstract readonly isStep: boolean;

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
  readonly isStep = false;
  get key() {
    return `${this.activeTurn.key}?`;
  }
  get id() {
    return this.activeTurn.userMessageId;
  }
  get messageIds() {
    return this.id === null ? [] : [this.id];
  }
  get text() {
    return this.activeTurn.userText ?? '';
  }
  get parts(): readonly Part[] {
    const { userFiles: files } = this.activeTurn;
    const text: Part = { type: 'text', text: this.text };
    return files.length > 0 ? [text, { type: 'files', files }] : [text];
  }
}

class ReplyRow extends ActiveRow {
  readonly role = 'assistant';
  #steps: readonly Message[] | null = null;
  #stepParts: readonly Part[] = [];

  constructor(
    turn: ActiveTurn,
    readonly earlier: readonly Message[],
  ) {
    super(turn);
  }

  get key() {
    return this.activeTurn.key;
  }
  get id() {
    return this.activeTurn.messageId;
  }
  get messageIds() {
    const steps = [...this.earlier, ...this.activeTurn.steps].map(({ id }) => id);
    return this.id === null ? steps : [...steps, this.id];
  }
  get text() {
    return this.activeTurn.text;
  }
  get parts() {
    const { steps, parts } = this.activeTurn;
    // The same objects until there is another step, so that they are not rendered again.
    if (this.#steps !== steps) {
      this.#steps = steps;
      this.#stepParts = partsOf([...this.earlier, ...steps]);
    }
    return [...this.#stepParts, ...parts];
  }
  get isStep() {
    return this.activeTurn.parts.some(({ type }) => type === 'call');
  }
}

/** A stored message, or the row of an active turn. */
type Entry = Message | UserRow | ReplyRow;

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
  for (const turn of turns) {
    for (const { id } of turn.steps) cache.setKey(id, turn.key);
    cache.setKey(turn.messageId, turn.key);
  }
  let entries: readonly Entry[] = history;
  for (const turn of turns) {
    if (isStored(turn, entries)) continue;
    const hasEndedEmpty = turn.phase === 'refused' || (turn.phase === 'ended' && turn.isEmpty);
    // Without a new reply the one before stays; the error is shown below the messages.
    if (hasEndedEmpty && turn.body?.regenerate) continue;
    const userIndex = entries.findLastIndex(({ id }) => id !== null && id === turn.userMessageId);
    if (userIndex >= 0) {
      if (hasEndedEmpty) continue;
      entries = entries.slice(0, userIndex + 1);
    } else if (turn.body?.regenerate) {
      entries = upToInput(entries, turn.body.regenerate);
    } else if (turn.userText !== null) {
      const parentId = turn.body?.parent_id;
      if (parentId !== undefined)
        entries = entries.slice(0, entries.findLastIndex(({ id }) => id === parentId) + 1);
      const user = cache.forUser(turn);
      entries = [...entries, user];
      cache.setKey(turn.userMessageId, user.key);
    }
    const isWaiting = turn.phase === 'refused' || (running !== null && turn !== running);
    if (turn.phase === 'ended' ? !turn.isEmpty : !isWaiting)
      entries = [...entries, cache.forReply(turn)];
  }
  return grouped(entries, cache);
}

/** Whether a turn's reply or one of its steps is among the entries. */
function isStored({ messageId, steps }: ActiveTurn, entries: readonly Entry[]): boolean {
  return entries.some(({ id }) => id !== null && (id === messageId || hasId(steps, id)));
}

function hasId(messages: readonly Message[], id: string): boolean {
  return messages.some((message) => message.id === id);
}

/** The entries up to what a turn took in; all of them if the turn is not among them. */
function upToInput(entries: readonly Entry[], turnId: string): readonly Entry[] {
  const first = entries.findIndex((entry) => turnIdOf(entry) === turnId);
  if (first < 0) return entries;
  const length = entries
    .slice(first)
    .findIndex((entry) => entry.role === 'assistant' || turnIdOf(entry) !== turnId);
  return length < 0 ? entries : entries.slice(0, first + length);
}

function turnIdOf(entry: Entry): string | null {
  return entry instanceof ActiveRow ? entry.turnId : entry.turn_id;
}

/** The rows of entries: steps are in the row of the reply to which they lead. */
function grouped(entries: readonly Entry[], cache: RowCache): Row[] {
  const rows: Row[] = [];
  let steps: Message[] = [];
  const add = (messages: readonly Message[]) => {
    const [first, ...others] = messages;
    if (first) rows.push(cache.forMessages([first, ...others]));
  };
  for (const entry of entries) {
    if (entry instanceof ReplyRow) {
      rows.push(cache.forReply(entry.activeTurn, steps));
      steps = [];
    } else if (!(entry instanceof ActiveRow) && isStep(entry)) {
      steps.push(entry);
    } else if (entry.role === 'assistant' && !(entry instanceof ActiveRow)) {
      add([...steps, entry]);
      steps = [];
    } else {
      add(steps);
      steps = [];
      if (entry instanceof ActiveRow) rows.push(entry);
      else add([entry]);
    }
  }
  add(steps);
  return rows;
}

function isSameList<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, index) => item === b[index]);
}

/** The index of the row with a message; -1 if there is none. */
export function findRow(rows: readonly Row[], messageId: string): number {
  return rows.findIndex(({ messageIds }) => messageIds.includes(messageId));
}

/**
 * The key of the oldest row that the model will read with the next message: `END` if it reads none,
 * null if it reads all of them. Empty messages and messages without a reply are never read; steps are
 * not counted.
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
    if (isUnanswered || row.isStep || row.text === '') continue;
    if (left === 0) return start ?? END;
    left -= 1;
    start = row.key;
  }
  return null;
}

/** What `contextStart` returns if the model reads none of the rows. */
export const END = 'end';
