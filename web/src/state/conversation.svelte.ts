/** One conversation: the pages of it that were read, and the turns that go on in it. */

import {
  api,
  cursor,
  data,
  fresh,
  Problem,
  type Message,
  type SessionChange,
  type SessionRecord,
} from '../api/client';
import type { ServerEvent } from '../api/stream';
import { Live } from './activeTurn.svelte';
import { drop, parcels, put, type Body } from './outbox';
import { arrange, Keys, type Row } from './rows';

const PAGE = 50;
/** Messages that a turn's end brings, and one to find their place by. */
const NEWS = 4;
/** A page of older messages, and when one of them is looked for. */
const OLDER = 100;
const MOST = 500;
/** A session with no more messages is read whole: the browser finds, selects and prints all of it. */
const WHOLE = 400;
/** How long the server may take to change the session. */
const CHANGE_MS = 10_000;
/** Until a turn is asked for again that could not be read. */
const AGAIN_MS = 1_000;

export type Settings = Pick<
  SessionRecord,
  'model' | 'system_prompt' | 'context_messages' | 'temperature' | 'max_tokens'
>;

export class Conversation {
  history = $state.raw<readonly Message[]>([]);
  lives = $state.raw<readonly Live[]>([]);
  record = $state.raw<SessionRecord | null>(null);
  /** `missing`: the server does not know it. */
  state = $state<'loading' | 'ready' | 'missing' | 'failed'>('loading');
  problem = $state<unknown>(null);
  /** Another reply that was asked for in vain: the one before stays, and this is told. */
  failure = $state.raw<{ turnId: string; problem: Problem } | null>(null);
  /** A message of another branch than the active one, which is read and not changed meanwhile. */
  viewed = $state<string | null>(null);
  /** Whether all of it is read and in the document; decided once, null until then. */
  isWhole = $state<boolean | null>(null);
  private older = $state<string | null>(null);
  private readonly keys = new Keys();
  private reading: Promise<void> | null = null;
  /** How often the end of the history was asked for, and which of these answers is shown. */
  private asked = 0;
  private shown = 0;
  private loading: Promise<void> = Promise.resolve();
  /** Settled when no change of the session is on its way. */
  private changing: Promise<unknown> = Promise.resolve();
  /** The turns in the order in which the server has them: their ids begin with the time. */
  private readonly line = $derived(
    this.lives.toSorted((one, other) => compare(one.turnId ?? '~', other.turnId ?? '~')),
  );
  /** The turn whose answer is being written; the others wait for it. */
  readonly running = $derived(this.line.find(({ phase }) => phase === 'accepted') ?? null);
  /** Whether there is something to stop. */
  readonly busy = $derived(
    this.lives.some(({ phase }) => phase === 'sending' || phase === 'accepted'),
  );
  /** Whether it says itself that the server cannot be reached. */
  readonly isTroubled = $derived(this.lives.some(({ trouble }) => trouble !== null));
  readonly rows: readonly Row[] = $derived(
    this.viewed === null
      ? arrange(this.history, this.line, this.running, this.keys)
      : arrange(this.history, [], null, this.keys),
  );
  readonly hasOlder = $derived(this.older !== null);

  constructor(readonly sessionId: string) {}

  /** Read the newest page, and what is going on. */
  load(): Promise<void> {
    this.loading = this.readAll();
    return this.loading;
  }

  private async readAll(): Promise<void> {
    const waiting = parcels().filter(({ body }) => body.session_id === this.sessionId);
    try {
      await Promise.all([this.readRecord(), this.readNewest(PAGE)]);
      this.isWhole ??= (this.record?.message_count ?? 0) <= WHOLE;
      this.state = 'ready';
      if (this.isWhole) void this.readRest();
    } catch (error) {
      const unknown = error instanceof Problem && error.status === 404;
      this.problem = error;
      this.state = unknown ? (waiting.length > 0 ? 'ready' : 'missing') : 'failed';
    }
    for (const { key, body } of waiting) {
      if (!this.lives.some((live) => live.key === key)) void this.begin(new Live(key, body));
    }
    const { running_turn: running, queued_turns: queued = [] } = this.record ?? {};
    for (const turnId of running ? [running, ...queued] : queued) this.follow(turnId);
  }

  /** Begin a session that the server does not know yet. */
  open(text: string, settings: Partial<Settings>): void {
    this.state = 'ready';
    this.isWhole = true;
    const { context_messages: size, ...turn } = settings;
    const set = Object.entries(turn).filter(([, value]) => value !== null);
    const live = this.send(text, Object.fromEntries(set));
    const given = Object.fromEntries(
      Object.entries({ ...turn, context_messages: size }).filter(([, value]) => value != null),
    );
    // A session has settings when it is there; the first turn has brought its own.
    const isSet = Object.keys(given).length > 0;
    const known = live.settled.then(() => {
      if (live.turnId === null) return undefined;
      return isSet ? this.change(given) : this.readRecord();
    });
    known.catch((error: unknown) => (this.problem = error));
  }

  send(text: string, more: Partial<Body> = {}): Live {
    return this.begin(new Live(fresh(), { session_id: this.sessionId, message: text, ...more }));
  }

  /** Ask the same in other words: a branch beside the message. */
  edit(message: Row, text: string): void {
    this.send(text, { parent_id: message.parentId });
  }

  /** Ask for another reply, by the same model as before or by another one. */
  regenerate(turnId: string, model: string | null = null): void {
    this.failure = null;
    const request = { session_id: this.sessionId, regenerate: turnId, ...(model && { model }) };
    this.begin(new Live(fresh(), request));
  }

  /** Ask a message again that has no turn, as imported ones have none: the same words, as a branch. */
  askAgain(message: Row, model: string | null = null): void {
    this.send(message.text, { parent_id: message.parentId, ...(model && { model }) });
  }

  /** Send a message that was refused once more, under its key: it may have arrived all the same. */
  again(live: Live): void {
    this.discard(live);
    if (live.body) this.begin(new Live(live.key, live.body));
  }

  /** Forget a message that is not sent. */
  discard(live: Live): void {
    live.abandon();
    drop(live.key);
    this.lives = this.lives.filter((other) => other !== live);
  }

  /** Stop a turn, or with none the one that runs, or will as soon as it is sent. */
  async stop(turnId = this.running?.turnId ?? null): Promise<void> {
    if (turnId === null) {
      const sending = this.lives.find(({ phase }) => phase === 'sending');
      await sending?.settled;
      turnId = sending?.turnId ?? null;
    }
    if (turnId === null) return;
    await api.POST('/turns/{turn_id}/cancel', { params: { path: { turn_id: turnId } } });
  }

  /** Make the branch of a message the active one, and have that message among what was read. */
  async choose(messageId: string): Promise<void> {
    await this.change({ head: messageId });
    await this.view(null);
    await this.readBackTo(messageId);
  }

  /**
   * Have a message among what was read. One of another branch is shown there, and the session stays
   * as it is. Throws `Problem`.
   */
  async find(messageId: string): Promise<void> {
    if (await this.readBackTo(messageId)) return;
    const before = this.viewed;
    try {
      await this.view(messageId);
    } catch (error) {
      this.viewed = before;
      throw error;
    }
    await this.readBackTo(messageId);
  }

  /** Show the branch of a message without choosing it, or with null the active one. */
  async view(messageId: string | null): Promise<void> {
    this.viewed = messageId;
    await this.readNewest(PAGE);
    if (this.isWhole) await this.readRest();
  }

  /**
   * Change the session. It is shown at once, and what is sent next is sent after it; if the server
   * refuses, it is as before. Throws `Problem`.
   */
  change(change: Partial<SessionChange>): Promise<void> {
    const changed = this.patch(change);
    this.changing = Promise.allSettled([this.changing, changed]);
    return changed;
  }

  private async patch(change: Partial<SessionChange>): Promise<void> {
    const before = this.record;
    // Which branch is active is known when the server has found it.
    if (before && change.head === undefined) this.record = { ...before, ...change };
    try {
      const params = { path: { session_id: this.sessionId } };
      const body = change as SessionChange;
      // What is sent next waits for it, and must not wait for a connection into nowhere.
      const signal = AbortSignal.timeout(CHANGE_MS);
      this.record = data(await api.PATCH('/sessions/{session_id}', { params, body, signal }));
    } catch (error) {
      this.record = before;
      throw error;
    }
  }

  /** Read another page of older messages. */
  grow(limit = OLDER): Promise<void> {
    this.reading ??= this.readOlder(limit).finally(() => (this.reading = null));
    return this.reading;
  }

  /** Take in what the server tells of this session. */
  async apply({ name, data: said }: ServerEvent): Promise<void> {
    await this.loading;
    if (name === 'session.deleted') this.state = 'missing';
    if (this.state !== 'ready') return;
    if (name === 'turn.queued' || name === 'turn.started' || name === 'turn.ended') {
      // What was just sent from here learns its own turn first.
      await Promise.all(this.lives.map((live) => live.settled));
      const known = this.lives.find((live) => live.turnId === said.turn_id);
      // One that was cancelled in the line ends before its place comes.
      if (known) return name === 'turn.ended' ? known.go() : undefined;
      if (name === 'turn.ended') await this.readNewest(NEWS);
      else this.follow(said.turn_id as string);
    } else if (name === 'session.updated') {
      await this.readRecord();
      const last = this.history.at(-1)?.id ?? null;
      if (this.lives.length === 0 && this.record?.head !== last) await this.readNewest(PAGE);
    } else if (name === 'events.missed') {
      await this.load();
    }
  }

  leave(): void {
    for (const live of this.lives) void live.leave();
  }

  private begin(live: Live): Live {
    if (live.body) put({ key: live.key, body: live.body });
    // What is sent makes its branch the active one.
    if (live.body) this.viewed = null;
    const before = this.lives.at(-1)?.settled;
    this.lives = [...this.lives, live];
    void live.settled.then(() => this.running?.go());
    // One after the other: the server has them in the order in which they were written.
    void Promise.all([before, this.changing])
      .then(() => live.run())
      .then(() => this.finish(live));
    return live;
  }

  /** Read along with a turn that was sent from elsewhere, or before a reload. */
  private follow(turnId: string): void {
    this.attach(turnId).catch((error: unknown) => {
      // The server is away; what it refuses, it refuses for good.
      if (!(error instanceof Problem)) setTimeout(() => this.follow(turnId), AGAIN_MS);
    });
  }

  private async attach(turnId: string): Promise<void> {
    const known = () => this.lives.some((live) => live.turnId === turnId);
    if (known()) return;
    const live = Live.of(turnId);
    const params = { path: { turn_id: turnId } };
    const [turn] = await Promise.all([
      api.GET('/turns/{turn_id}', { params }),
      this.readNewest(NEWS),
    ]);
    if (turn.data === undefined || known()) return;
    const asked = turn.data.messages.find(({ role }) => role === 'user');
    live.question = asked?.content ?? null;
    live.userMessageId = turn.data.user_message_id;
    live.messageId = turn.data.message_id;
    this.begin(live);
  }

  private async finish(live: Live): Promise<void> {
    this.running?.go();
    const regenerated = live.body?.regenerate;
    if (live.problem && regenerated && live.text === '') {
      this.failure = { turnId: live.turnId ?? regenerated, problem: live.problem };
    }
    if (live.phase === 'refused') {
      if (regenerated) this.discard(live);
      return;
    }
    if (live.phase !== 'ended') {
      this.lives = this.lives.filter((other) => other !== live);
      return;
    }
    try {
      await this.readNewest(NEWS);
    } catch {
      // What is shown of it stays until the server is there again.
    }
  }

  private async readRecord(): Promise<void> {
    const params = { path: { session_id: this.sessionId } };
    this.record = data(await api.GET('/sessions/{session_id}', { params }));
  }

  private async read(limit: number, before?: string): Promise<[Message[], string | null]> {
    const head = this.viewed;
    const query = { limit, details: true, ...(before && { before }), ...(head && { head }) };
    const params = { path: { session_id: this.sessionId }, query };
    const answer = await api.GET('/history/{session_id}', { params });
    return [data(answer) as Message[], cursor(answer.response, 'prev')];
  }

  /** Read the end of the active branch, and join it to what is known of it. */
  private async readNewest(limit: number): Promise<void> {
    const over = this.lives.filter(({ phase }) => phase === 'ended');
    const read = ++this.asked;
    const [found, before] = await this.read(limit);
    // Answers overtake each other; one about the past must not take away what came since.
    if (read < this.shown) return;
    this.shown = read;
    if (before === null) this.isWhole ??= true;
    const at = this.history.findLastIndex(({ id }) => id === found[0]?.id);
    if (at >= 0) {
      this.history = [...this.history.slice(0, at), ...found];
    } else if (before !== null && limit < PAGE) {
      await this.readNewest(PAGE);
    } else {
      this.history = found;
      this.older = before;
    }
    // A message that was cancelled while it waited is stored when its place comes.
    const stored = new Set(this.history.map(({ id }) => id));
    const first = this.history[0]?.id ?? '';
    const isAbove = (id: string) => this.older !== null && compare(id, first) < 0;
    const done = over.filter(
      ({ userMessageId: id }) => id === null || stored.has(id) || isAbove(id),
    );
    if (done.length > 0) this.lives = this.lives.filter((live) => !done.includes(live));
  }

  private async readOlder(limit: number): Promise<void> {
    if (this.older === null) return;
    const first = this.history[0]?.id;
    const [found, before] = await this.read(limit, this.older);
    if (this.history[0]?.id !== first) return;
    this.history = [...found, ...this.history];
    this.older = before;
  }

  /** Read all that is older; what cannot be read now is read when it is scrolled to. */
  private async readRest(): Promise<void> {
    try {
      while (this.older !== null) await this.grow();
    } catch {
      // The server is away.
    }
  }

  private async readBackTo(messageId: string): Promise<boolean> {
    const known = () => this.history.some(({ id }) => id === messageId);
    while (!known() && this.older !== null) await this.grow(MOST);
    return known();
  }
}

function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
