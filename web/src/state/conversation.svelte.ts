/** One conversation: the part of its history that was read, and its active turns. */

import {
  api,
  newId,
  pageCursor,
  Problem,
  unwrap,
  type Message,
  type SessionChange,
  type SessionRecord,
} from '../api/client';
import type { ServerEvent } from '../api/stream';
import { ActiveTurn } from './activeTurn.svelte';
import { addToOutbox, readOutbox, removeFromOutbox, type ChatBody } from './outbox';
import { partsOf } from './parts';
import { attachmentsOf, filesOf, imagesParam } from './pictures.svelte';
import { arrange, RowCache, type Row } from './rows';

const PAGE_SIZE = 50;
/** A turn's messages without its steps, and more that join them to the history. */
const TAIL_SIZE = 4;
const OLDER_PAGE_SIZE = 100;
/** The page size while a message is searched for in older pages. */
const MAX_PAGE_SIZE = 500;
/** A session with at most this many messages is read whole: the browser can search and print it. */
const WHOLE_LIMIT = 400;
/** How long the server may take to change the session. */
const CHANGE_TIMEOUT_MS = 10_000;
/** The pause before another attempt to read a turn. */
const ATTACH_RETRY_MS = 1_000;

export type Settings = Pick<
  SessionRecord,
  'model' | 'system_prompt' | 'context_messages' | 'temperature' | 'max_tokens'
>;

export class Conversation {
  history = $state.raw<readonly Message[]>([]);
  activeTurns = $state.raw<readonly ActiveTurn[]>([]);
  record = $state.raw<SessionRecord | null>(null);
  /** `missing`: the server has no such session. */
  state = $state<'loading' | 'ready' | 'missing' | 'failed'>('loading');
  problem = $state<unknown>(null);
  /** Why the last reply was not generated again; the previous reply stays. */
  regenerateFailure = $state.raw<{ turnId: string; problem: Problem } | null>(null);
  /** A message on another branch that is shown read-only; null while the active branch is shown. */
  viewedMessageId = $state<string | null>(null);
  /** Whether all of it is read and in the document; decided once, null until then. */
  isWhole = $state<boolean | null>(null);
  #olderCursor = $state<string | null>(null);
  readonly #rowCache = new RowCache();
  #olderRequest: Promise<void> | null = null;
  /** The number of the last request for the end of the history, and of the one that is shown. */
  #newestRequested = 0;
  #newestShown = 0;
  #loading: Promise<void> = Promise.resolve();
  /** Resolves when no change of the session is pending. */
  #changing: Promise<unknown> = Promise.resolve();
  /** The turns in the server's order: their ids begin with the time. */
  readonly #orderedTurns = $derived(
    this.activeTurns.toSorted((a, b) => compare(a.turnId ?? '~', b.turnId ?? '~')),
  );
  /** The turn whose reply is being written; the others wait for it. */
  readonly running = $derived(this.#orderedTurns.find(({ phase }) => phase === 'accepted') ?? null);
  /** Whether there is a turn to stop. */
  readonly busy = $derived(
    this.activeTurns.some(({ phase }) => phase === 'sending' || phase === 'accepted'),
  );
  /** Whether a turn shows that the server cannot be reached. */
  readonly isRetrying = $derived(this.activeTurns.some(({ retryReason }) => retryReason !== null));
  readonly rows: readonly Row[] = $derived(
    this.viewedMessageId === null
      ? arrange(this.history, this.#orderedTurns, this.running, this.#rowCache)
      : arrange(this.history, [], null, this.#rowCache),
  );
  readonly hasOlder = $derived(this.#olderCursor !== null);

  constructor(readonly sessionId: string) {}

  /** Read the newest page, send what the outbox has, and attach to the turns that are active. */
  load(): Promise<void> {
    this.#loading = this.#loadAll();
    return this.#loading;
  }

  async #loadAll(): Promise<void> {
    const unsent = readOutbox().filter(({ body }) => body.session_id === this.sessionId);
    try {
      await Promise.all([this.#readRecord(), this.#readNewest(PAGE_SIZE)]);
      this.isWhole ??= (this.record?.message_count ?? 0) <= WHOLE_LIMIT;
      this.state = 'ready';
      if (this.isWhole) void this.#readRest();
    } catch (error) {
      const isMissing = error instanceof Problem && error.status === 404;
      this.problem = error;
      this.state = isMissing ? (unsent.length > 0 ? 'ready' : 'missing') : 'failed';
    }
    for (const { key, body } of unsent) {
      const isActive = this.activeTurns.some((turn) => turn.key === key);
      if (!isActive) this.#start(new ActiveTurn(key, body));
    }
    const { running_turn: running, queued_turns: queued = [] } = this.record ?? {};
    for (const turnId of running ? [running, ...queued] : queued) this.#attach(turnId);
  }

  /**
   * Send the first message of a new session, and give the session its settings.
   *
   * @param text - The message.
   * @param settings - Of the session; null where the server's setting holds.
   * @param images - The pictures of the message, as data URLs.
   */
  startSession(text: string, settings: Partial<Settings>, images: readonly string[] = []): void {
    this.state = 'ready';
    this.isWhole = true;
    const custom = Object.entries(settings).filter(([, value]) => value != null);
    // The number of context messages is no parameter of a turn.
    const params = custom.filter(([name]) => name !== 'context_messages');
    const turn = this.send(text, { ...Object.fromEntries(params), ...imagesParam(images) });
    // The session exists once its first message is accepted.
    const configured = turn.settled.then(() => {
      if (turn.turnId === null) return undefined;
      return custom.length > 0 ? this.change(Object.fromEntries(custom)) : this.#readRecord();
    });
    configured.catch((error: unknown) => (this.problem = error));
  }

  /** Send a message, with further fields of `POST /chat` in `params`. */
  send(text: string, params: Partial<ChatBody> = {}): ActiveTurn {
    const body = { session_id: this.sessionId, message: text, ...params };
    return this.#start(new ActiveTurn(newId(), body));
  }

  /**
   * Send a message as a new version of another one, with its pictures: a branch beside it. Rejects
   * with `Problem` if the pictures cannot be read; then nothing is sent.
   */
  async edit(message: Row, text: string, params: Partial<ChatBody> = {}): Promise<void> {
    const files = filesOf(message);
    const attachments = files.length > 0 ? await attachmentsOf(this.sessionId, files) : {};
    this.send(text, { parent_id: message.parentId, ...attachments, ...params });
  }

  /** Generate another reply of a turn, by the session's model or, if not null, by `model`. */
  regenerate(turnId: string, model: string | null = null): void {
    this.regenerateFailure = null;
    const body = { session_id: this.sessionId, regenerate: turnId, ...(model && { model }) };
    this.#start(new ActiveTurn(newId(), body));
  }

  /** Send a message again, as a branch: imported messages have no turn to regenerate. */
  resend(message: Row, model: string | null = null): Promise<void> {
    return this.edit(message, message.text, model === null ? {} : { model });
  }

  /** Send a refused message again under its key: it may have been stored all the same. */
  retry(turn: ActiveTurn): void {
    this.discard(turn);
    if (turn.body) this.#start(new ActiveTurn(turn.key, turn.body));
  }

  /** Remove a message that was not accepted. */
  discard(turn: ActiveTurn): void {
    turn.stopSending();
    removeFromOutbox(turn.key);
    this.#removeTurns([turn]);
  }

  /**
   * Cancel a turn. Without an argument, cancel the one that is running, or that will run as soon as
   * its message is accepted.
   */
  async stop(turnId = this.running?.turnId ?? null): Promise<void> {
    if (turnId === null) {
      const sending = this.activeTurns.find(({ phase }) => phase === 'sending');
      await sending?.settled;
      turnId = sending?.turnId ?? null;
    }
    if (turnId === null) return;
    await api.POST('/turns/{turn_id}/cancel', { params: { path: { turn_id: turnId } } });
  }

  /** Make the branch of a message the active one, and read back to the message. */
  async chooseBranch(messageId: string): Promise<void> {
    await this.change({ head: messageId });
    await this.viewBranch(null);
    await this.#readBackTo(messageId);
  }

  /**
   * Read back to a message. If it is on another branch, view that branch; the session's active
   * branch stays. Throws `Problem`.
   */
  async loadMessage(messageId: string): Promise<void> {
    if (await this.#readBackTo(messageId)) return;
    const previous = this.viewedMessageId;
    try {
      await this.viewBranch(messageId);
    } catch (error) {
      this.viewedMessageId = previous;
      throw error;
    }
    await this.#readBackTo(messageId);
  }

  /** Show the branch of a message without making it the active one; null shows the active one. */
  async viewBranch(messageId: string | null): Promise<void> {
    this.viewedMessageId = messageId;
    await this.#readNewest(PAGE_SIZE);
    if (this.isWhole) await this.#readRest();
  }

  /**
   * Change the session. The change is shown at once, and messages that are sent later wait for it.
   * If the server refuses, it is undone. Throws `Problem`.
   */
  change(change: Partial<SessionChange>): Promise<void> {
    const changed = this.#patchSession(change);
    this.#changing = Promise.allSettled([this.#changing, changed]);
    return changed;
  }

  async #patchSession(change: Partial<SessionChange>): Promise<void> {
    const previous = this.record;
    // The server decides which message is the new head.
    if (previous && change.head === undefined) this.record = { ...previous, ...change };
    try {
      const params = { path: { session_id: this.sessionId } };
      const body = change as SessionChange;
      // Messages wait for the change, so it must not wait for a dead connection.
      const signal = AbortSignal.timeout(CHANGE_TIMEOUT_MS);
      this.record = unwrap(await api.PATCH('/sessions/{session_id}', { params, body, signal }));
    } catch (error) {
      this.record = previous;
      throw error;
    }
  }

  /** Read another page of older messages, unless one is being read. */
  loadOlder(limit = OLDER_PAGE_SIZE): Promise<void> {
    this.#olderRequest ??= this.#readOlder(limit).finally(() => (this.#olderRequest = null));
    return this.#olderRequest;
  }

  /** Update the conversation by an event of the server about this session. */
  async applyEvent({ name, data }: ServerEvent): Promise<void> {
    await this.#loading;
    if (name === 'session.deleted') this.state = 'missing';
    if (this.state !== 'ready') return;
    if (name === 'turn.queued' || name === 'turn.started' || name === 'turn.ended') {
      // Messages that were just sent from here must know their turn ids first.
      await Promise.all(this.activeTurns.map((turn) => turn.settled));
      const turn = this.activeTurns.find(({ turnId }) => turnId === data.turn_id);
      // A queued turn that was cancelled ends before it was ever first in the queue.
      if (turn) return name === 'turn.ended' ? turn.allowReading() : undefined;
      if (name === 'turn.ended') await this.#readNewest(TAIL_SIZE);
      else this.#attach(data.turn_id as string);
    } else if (name === 'session.updated') {
      await this.#readRecord();
      const last = this.history.at(-1)?.id ?? null;
      if (this.activeTurns.length === 0 && this.record?.head !== last)
        await this.#readNewest(PAGE_SIZE);
    } else if (name === 'events.missed') {
      await this.load();
    }
  }

  /** Stop reading. Messages that are not accepted yet are still sent. */
  detach(): void {
    for (const turn of this.activeTurns) void turn.detach();
  }

  #start(turn: ActiveTurn): ActiveTurn {
    if (turn.body) addToOutbox({ key: turn.key, body: turn.body });
    // A new message makes its branch the active one.
    if (turn.body) this.viewedMessageId = null;
    const previous = this.activeTurns.at(-1)?.settled;
    this.activeTurns = [...this.activeTurns, turn];
    void turn.settled.then(() => this.running?.allowReading());
    // One after the other: the server gets them in the order in which they were written.
    void Promise.all([previous, this.#changing])
      .then(() => turn.run())
      .then(() => this.#finish(turn));
    return turn;
  }

  /** Read a turn that was sent from elsewhere or before a reload; retry while there is no server. */
  #attach(turnId: string): void {
    this.#readTurn(turnId).catch((error: unknown) => {
      // A refusal is final.
      if (!(error instanceof Problem)) setTimeout(() => this.#attach(turnId), ATTACH_RETRY_MS);
    });
  }

  async #readTurn(turnId: string): Promise<void> {
    const isActive = () => this.activeTurns.some((turn) => turn.turnId === turnId);
    if (isActive()) return;
    const turn = ActiveTurn.fromServer(turnId);
    const params = { path: { turn_id: turnId } };
    const [{ data: record }] = await Promise.all([
      api.GET('/turns/{turn_id}', { params }),
      this.#readNewest(TAIL_SIZE),
    ]);
    if (record === undefined || isActive()) return;
    const userMessage = record.messages.find(({ role }) => role === 'user');
    turn.userText = userMessage?.content ?? null;
    turn.userFiles = filesOf({ parts: partsOf(userMessage ? [userMessage] : []) });
    turn.userMessageId = record.user_message_id;
    turn.messageId = record.message_id;
    this.#start(turn);
  }

  async #finish(turn: ActiveTurn): Promise<void> {
    this.running?.allowReading();
    const regenerated = turn.body?.regenerate;
    if (turn.problem && regenerated && turn.isEmpty) {
      this.regenerateFailure = { turnId: turn.turnId ?? regenerated, problem: turn.problem };
    }
    if (turn.phase === 'refused') {
      if (regenerated) this.discard(turn);
      return;
    }
    if (turn.phase !== 'ended') {
      this.#removeTurns([turn]);
      return;
    }
    try {
      await this.#readNewest(Math.min(TAIL_SIZE + turn.steps.length, MAX_PAGE_SIZE));
    } catch {
      // The turn's rows stay until the history can be read.
    }
  }

  #removeTurns(turns: readonly ActiveTurn[]): void {
    if (turns.length === 0) return;
    this.activeTurns = this.activeTurns.filter((turn) => !turns.includes(turn));
  }

  async #readRecord(): Promise<void> {
    const params = { path: { session_id: this.sessionId } };
    this.record = unwrap(await api.GET('/sessions/{session_id}', { params }));
  }

  /** A page of the branch that is shown, before a cursor or at its end, and the next cursor. */
  async #readPage(limit: number, before?: string): Promise<[Message[], string | null]> {
    const head = this.viewedMessageId;
    const query = { limit, details: true, ...(before && { before }), ...(head && { head }) };
    const params = { path: { session_id: this.sessionId }, query };
    const result = await api.GET('/history/{session_id}', { params });
    return [unwrap(result) as Message[], pageCursor(result.response, 'prev')];
  }

  /** Read the end of the history, and join it to the part that was read before. */
  async #readNewest(limit: number): Promise<void> {
    const ended = this.activeTurns.filter(({ phase }) => phase === 'ended');
    const request = ++this.#newestRequested;
    const [messages, cursor] = await this.#readPage(limit);
    // Responses overtake each other: an older one must not remove newer messages.
    if (request < this.#newestShown) return;
    this.#newestShown = request;
    if (cursor === null) this.isWhole ??= true;
    const index = this.history.findLastIndex(({ id }) => id === messages[0]?.id);
    if (index >= 0) {
      this.history = [...this.history.slice(0, index), ...messages];
    } else if (cursor !== null && limit < PAGE_SIZE) {
      await this.#readNewest(PAGE_SIZE);
    } else {
      this.history = messages;
      this.#olderCursor = cursor;
      // More than a page is new: what is older than that page must be read again.
      if (this.isWhole) void this.#readRest();
    }
    this.#removeTurns(ended.filter((turn) => this.#isStored(turn)));
  }

  /** Whether the history shows the message of an ended turn, or would in a page not read yet. */
  #isStored({ userMessageId: id }: ActiveTurn): boolean {
    // A message that was cancelled in the queue is stored only when its turn would have run.
    if (id === null || this.history.some((message) => message.id === id)) return true;
    const first = this.history[0]?.id ?? '';
    return this.#olderCursor !== null && compare(id, first) < 0;
  }

  async #readOlder(limit: number): Promise<void> {
    if (this.#olderCursor === null) return;
    const first = this.history[0]?.id;
    const [messages, cursor] = await this.#readPage(limit, this.#olderCursor);
    if (this.history[0]?.id !== first) return;
    this.history = [...messages, ...this.history];
    this.#olderCursor = cursor;
  }

  /** Read all older pages. What cannot be read now is read when the reader scrolls to it. */
  async #readRest(): Promise<void> {
    try {
      while (this.#olderCursor !== null) await this.loadOlder();
    } catch {
      // The server cannot be reached.
    }
  }

  async #readBackTo(messageId: string): Promise<boolean> {
    const isRead = () => this.history.some(({ id }) => id === messageId);
    while (!isRead() && this.#olderCursor !== null) await this.loadOlder(MAX_PAGE_SIZE);
    return isRead();
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
