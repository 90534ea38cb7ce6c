/** The list of sessions: pages as they are scrolled to, kept true by the server's events. */

import { api, cursor, data, type Session, type SessionChange } from '../api/client';
import type { ServerEvent } from '../api/stream';

/** Sessions of the first page, and of those that are scrolled to. */
const FIRST_PAGE = 100;
const PAGE = 500;

/** Sessions in the order of their activity, newest first, as far as they were read. */
class Listing {
  items = $state.raw<readonly Session[]>([]);
  /** Whether there is more to read. */
  more = $state(true);
  failed = $state<unknown>(null);
  private next: string | undefined;
  private reading: Promise<void> | null = null;
  private generation = 0;

  constructor(private readonly only: { archived?: boolean; pinned?: boolean }) {}

  /** Read another page, unless one is on its way. */
  grow(): Promise<void> {
    if (!this.more) return Promise.resolve();
    this.reading ??= this.page(this.generation).finally(() => (this.reading = null));
    return this.reading;
  }

  /** Begin again: the first page replaces all. */
  async reset(): Promise<void> {
    this.generation += 1;
    this.next = undefined;
    this.reading = this.page(this.generation, true).finally(() => (this.reading = null));
    await this.reading;
  }

  private async page(generation: number, first = false): Promise<void> {
    const after: { after?: string } = this.next === undefined ? {} : { after: this.next };
    try {
      const answer = await api.GET('/sessions', {
        params: { query: { ...this.only, ...after, limit: after.after ? PAGE : FIRST_PAGE } },
      });
      const found = data(answer);
      if (generation !== this.generation) return;
      const known = new Set(first ? [] : this.items.map((item) => item.session_id));
      const added = found.filter((item) => !known.has(item.session_id));
      this.items = first ? added : [...this.items, ...added];
      this.next = cursor(answer.response, 'next') ?? undefined;
      this.more = this.next !== undefined;
      this.failed = null;
    } catch (error) {
      if (generation === this.generation) this.failed = error;
    }
  }

  /** Put a session where it belongs; older than all that was read, it comes with its page. */
  put(session: Session): void {
    const others = this.items.filter((item) => item.session_id !== session.session_id);
    const at = others.findIndex((item) => item.updated_at <= session.updated_at);
    if (at === -1 && this.more) this.items = others;
    else this.items = others.toSpliced(at === -1 ? others.length : at, 0, session);
  }

  remove(sessionId: string): void {
    if (this.find(sessionId)) {
      this.items = this.items.filter((item) => item.session_id !== sessionId);
    }
  }

  find(sessionId: string): Session | undefined {
    return this.items.find((item) => item.session_id === sessionId);
  }
}

/** All that the list beside the conversation shows. */
export class Sessions {
  readonly recent = new Listing({ pinned: false, archived: false });
  readonly pinned = new Listing({ pinned: true, archived: false });
  readonly archived = new Listing({ archived: true });
  /** Sessions that answer right now. */
  running = $state.raw<ReadonlySet<string>>(new Set());
  /** Sessions that are shown no more, and deleted on the server unless that is undone in time. */
  hidden = $state.raw<ReadonlySet<string>>(new Set());
  private readonly all = [this.pinned, this.recent, this.archived];
  private openedArchive = false;

  async load(): Promise<void> {
    const lists = this.openedArchive ? this.all : [this.pinned, this.recent];
    await Promise.all(lists.map((list) => list.reset()));
    // Pinned ones are few; they are shown all.
    while (this.pinned.more && !this.pinned.failed) await this.pinned.grow();
  }

  openArchive(): void {
    if (this.openedArchive) return;
    this.openedArchive = true;
    void this.archived.reset();
  }

  find(sessionId: string): Session | undefined {
    return this.all.map((list) => list.find(sessionId)).find((found) => found !== undefined);
  }

  /** Show a session as it is now. */
  put(session: Session): void {
    const home = session.archived ? this.archived : session.pinned ? this.pinned : this.recent;
    for (const list of this.all) {
      if (list !== home) list.remove(session.session_id);
    }
    if (home !== this.archived || this.openedArchive) home.put(session);
  }

  /** Take in what the server tells of all sessions. */
  async apply({ name, data: said }: ServerEvent): Promise<void> {
    const id = said.session_id as string;
    if (name === 'session.created' || name === 'session.updated') this.put(said as Session);
    else if (name === 'session.titled') this.retitle(id, said.title as string);
    else if (name === 'session.deleted') this.forget(id);
    else if (name === 'turn.started' || name === 'turn.ended') await this.touch(id, name);
    else if (name === 'events.missed') await this.load();
  }

  /** Change a session on the server, and show what it says. Throws `Problem`. */
  async change(sessionId: string, change: Partial<SessionChange>): Promise<void> {
    const answer = await api.PATCH('/sessions/{session_id}', {
      params: { path: { session_id: sessionId } },
      body: change as SessionChange,
    });
    this.put(listed(data(answer)));
  }

  hide(sessionIds: readonly string[]): void {
    this.hidden = new Set([...this.hidden, ...sessionIds]);
  }

  show(sessionIds: readonly string[]): void {
    const shown = new Set(sessionIds);
    this.hidden = new Set([...this.hidden].filter((id) => !shown.has(id)));
  }

  forget(sessionId: string): void {
    for (const list of this.all) list.remove(sessionId);
    this.show([sessionId]);
  }

  private retitle(sessionId: string, title: string): void {
    const known = this.find(sessionId);
    if (known) this.put({ ...known, title, title_source: 'model' });
  }

  /** A session has news: it comes to the top. One that was not read yet is asked for. */
  private async touch(sessionId: string, event: 'turn.started' | 'turn.ended'): Promise<void> {
    const running = new Set(this.running);
    if (event === 'turn.started') running.add(sessionId);
    else running.delete(sessionId);
    this.running = running;
    const known = this.find(sessionId);
    if (known) {
      const newest = this.recent.items[0]?.updated_at ?? '';
      const now = new Date().toISOString();
      this.put({ ...known, updated_at: now > newest ? now : newest });
      return;
    }
    if (event === 'turn.ended') return;
    const answer = await api.GET('/sessions/{session_id}', {
      params: { path: { session_id: sessionId } },
    });
    if (answer.data) this.put(listed(answer.data));
  }
}

/** A session as lists have it, without its settings. */
function listed(session: Session): Session {
  const { session_id, title, title_source, created_at, updated_at, message_count } = session;
  const { pinned, archived } = session;
  return {
    session_id,
    title,
    title_source,
    created_at,
    updated_at,
    message_count,
    pinned,
    archived,
  };
}
