/** The list of sessions: read page by page, and updated by the server's events. */

import { api, pageCursor, unwrap, type Session, type SessionChange } from '../api/client';
import type { ServerEvent } from '../api/stream';

const FIRST_PAGE_SIZE = 100;
const PAGE_SIZE = 500;

/** The sessions that match a filter, by their last activity, newest first, as far as they were read. */
class Listing {
  items = $state.raw<readonly Session[]>([]);
  hasMore = $state(true);
  /** Why the last page could not be read; null if it was. */
  error = $state<unknown>(null);
  #nextCursor: string | undefined;
  #request: Promise<void> | null = null;
  /** Changes with `reload`; a page of an older generation is dropped. */
  #generation = 0;

  readonly #filter: { archived?: boolean; pinned?: boolean };

  constructor(filter: { archived?: boolean; pinned?: boolean }) {
    this.#filter = filter;
  }

  /** Read another page, unless one is being read. */
  loadMore(): Promise<void> {
    if (!this.hasMore) return Promise.resolve();
    this.#request ??= this.#loadPage(this.#generation).finally(() => (this.#request = null));
    return this.#request;
  }

  /** Read the first page, which replaces all others. */
  async reload(): Promise<void> {
    this.#generation += 1;
    this.#nextCursor = undefined;
    this.#request = this.#loadPage(this.#generation, true).finally(() => (this.#request = null));
    await this.#request;
  }

  async #loadPage(generation: number, isFirst = false): Promise<void> {
    const after: { after?: string } =
      this.#nextCursor === undefined ? {} : { after: this.#nextCursor };
    try {
      const result = await api.GET('/sessions', {
        params: {
          query: { ...this.#filter, ...after, limit: after.after ? PAGE_SIZE : FIRST_PAGE_SIZE },
        },
      });
      const sessions = unwrap(result);
      if (generation !== this.#generation) return;
      const known = new Set(isFirst ? [] : this.items.map((item) => item.session_id));
      const added = sessions.filter((session) => !known.has(session.session_id));
      this.items = isFirst ? added : [...this.items, ...added];
      this.#nextCursor = pageCursor(result.response, 'next') ?? undefined;
      this.hasMore = this.#nextCursor !== undefined;
      this.error = null;
    } catch (error) {
      if (generation === this.#generation) this.error = error;
    }
  }

  /** Insert or move a session. One that is older than all that were read comes with its page. */
  put(session: Session): void {
    const others = this.items.filter((item) => item.session_id !== session.session_id);
    const index = others.findIndex((item) => item.updated_at <= session.updated_at);
    if (index === -1 && this.hasMore) this.items = others;
    else this.items = others.toSpliced(index === -1 ? others.length : index, 0, session);
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

/** The sidebar's sessions. */
export class Sessions {
  readonly recent = new Listing({ pinned: false, archived: false });
  readonly pinned = new Listing({ pinned: true, archived: false });
  readonly archived = new Listing({ archived: true });
  /** The ids of sessions with a running turn. */
  running = $state.raw<ReadonlySet<string>>(new Set());
  /** The ids of sessions that are not shown, because their deletion can still be undone. */
  hidden = $state.raw<ReadonlySet<string>>(new Set());
  readonly #listings = [this.pinned, this.recent, this.archived];
  #isArchiveOpen = false;

  /** Read everything again. Errors are in each listing's `error`. */
  async load(): Promise<void> {
    const listings = this.#isArchiveOpen ? this.#listings : [this.pinned, this.recent];
    await Promise.all(listings.map((listing) => listing.reload()));
    // There are only a few pinned sessions; all of them are shown.
    while (this.pinned.hasMore && !this.pinned.error) await this.pinned.loadMore();
  }

  /** Read the archive, unless it was read before. */
  openArchive(): void {
    if (this.#isArchiveOpen) return;
    this.#isArchiveOpen = true;
    void this.archived.reload();
  }

  /** A session that was read; undefined if it was not. */
  find(sessionId: string): Session | undefined {
    for (const listing of this.#listings) {
      const session = listing.find(sessionId);
      if (session !== undefined) return session;
    }
    return undefined;
  }

  /** Show a session as it is now, in the listing to which it belongs. */
  put(session: Session): void {
    const target = session.archived ? this.archived : session.pinned ? this.pinned : this.recent;
    for (const listing of this.#listings) {
      if (listing !== target) listing.remove(session.session_id);
    }
    target.put(session);
  }

  /** Update the list by an event of the server about any session. */
  async applyEvent({ name, data }: ServerEvent): Promise<void> {
    const id = data.session_id as string;
    if (name === 'session.created' || name === 'session.updated') this.put(data as Session);
    else if (name === 'session.titled') this.#retitle(id, data.title as string);
    else if (name === 'session.deleted') this.remove(id);
    else if (name === 'turn.started' || name === 'turn.ended') await this.#moveToTop(id, name);
    else if (name === 'events.missed') await this.load();
  }

  /** Change a session on the server, and show the result. Throws `Problem`. */
  async change(sessionId: string, change: Partial<SessionChange>): Promise<void> {
    const result = await api.PATCH('/sessions/{session_id}', {
      params: { path: { session_id: sessionId } },
      body: change as SessionChange,
    });
    this.put(toListItem(unwrap(result)));
  }

  hide(sessionIds: readonly string[]): void {
    this.hidden = new Set([...this.hidden, ...sessionIds]);
  }

  unhide(sessionIds: readonly string[]): void {
    const shown = new Set(sessionIds);
    this.hidden = new Set([...this.hidden].filter((id) => !shown.has(id)));
  }

  /** Remove a session from the list; on the server it is unchanged. */
  remove(sessionId: string): void {
    for (const listing of this.#listings) listing.remove(sessionId);
    this.unhide([sessionId]);
  }

  #retitle(sessionId: string, title: string): void {
    const session = this.find(sessionId);
    if (session) this.put({ ...session, title, title_source: 'model' });
  }

  /** Move a session with a new turn to the top. One that was not read yet is read. */
  async #moveToTop(sessionId: string, event: 'turn.started' | 'turn.ended'): Promise<void> {
    const running = new Set(this.running);
    if (event === 'turn.started') running.add(sessionId);
    else running.delete(sessionId);
    this.running = running;
    const session = this.find(sessionId);
    if (session) {
      const newest = this.recent.items[0]?.updated_at ?? '';
      const now = new Date().toISOString();
      this.put({ ...session, updated_at: now > newest ? now : newest });
      return;
    }
    if (event === 'turn.ended') return;
    const result = await api.GET('/sessions/{session_id}', {
      params: { path: { session_id: sessionId } },
    });
    if (result.data) this.put(toListItem(result.data));
  }
}

/** A session as `GET /sessions` has it, without its settings. */
function toListItem(session: Session): Session {
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
