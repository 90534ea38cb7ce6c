/** The page as a whole: the list, the conversation that is shown, and what is told in passing. */

import { flushSync } from 'svelte';
import { api, BASE, fresh, words, type ImportReport, type Models } from '../api/client';
import { Problem } from '../api/client';
import { follow } from '../api/stream';
import { t } from '../language';
import { Conversation, type Settings } from './conversation.svelte';
import { asBlock, conversationsIn, Unusable } from './files';
import { parcels } from './outbox';
import { go, route } from './route.svelte';
import { Sessions } from './sessions.svelte';
import { displayTitle } from './titles';

export type Dialog = 'search' | 'settings' | 'help' | 'usage' | null;

export interface Toast {
  id: number;
  text: string;
  isError: boolean;
  action: { label: string; run: () => void } | null;
}

const TOAST_MS = 6_000;
/** How long a deletion can be undone. */
const UNDO_MS = 8_000;
const SHUT_KEY = 'chatkeep.sidebar';
/** Where the list is a drawer, as the styles have it. */
export const NARROW = '(max-width: 760px)';
const NO_SETTINGS: Settings = {
  model: null,
  system_prompt: null,
  context_messages: null,
  temperature: null,
  max_tokens: null,
};

class App {
  readonly sessions = new Sessions();
  conversation = $state.raw<Conversation | null>(null);
  models = $state.raw<Models | null>(null);
  dialog = $state<Dialog>(null);
  /** The turn whose receipt is shown. */
  receipt = $state<string | null>(null);
  /** Whether the list is open as a drawer, where there is no room for it beside the conversation. */
  sidebarOpen = $state(false);
  /** Whether the page has little room: the list is a drawer. */
  narrow = $state(false);
  /** Whether it is shut where there is room. */
  sidebarShut = $state(wasShut());
  toasts = $state.raw<readonly Toast[]>([]);
  /** Whether the server tells what happens. */
  connected = $state(true);
  /** What a screen reader says next. */
  announcement = $state('');
  /** Text that is to become part of the message that is being written. */
  insertion = $state<string | null>(null);
  /** The words that the last search has led to. */
  sought: readonly string[] = [];
  /** Whether the search is of the conversation that is shown alone. */
  searchesHere = $state(false);
  /** The settings of the session that the next message begins. */
  settings = $state.raw<Settings>(NO_SETTINGS);
  /** Sessions that are to be deleted, and not yet on the server. */
  private readonly deletions = new Set<string>();
  private toastCount = 0;

  start(): void {
    void this.watch();
    api.GET('/models').then(
      (answer) => (this.models = answer.data ?? null),
      () => {},
    );
    for (const { body } of parcels()) {
      // What another conversation of this tab had not sent yet is sent now.
      if (body.session_id === route.sessionId) continue;
      const other = new Conversation(body.session_id);
      void other.load().then(() => other.leave());
    }
    addEventListener('pagehide', () => this.deletions.forEach((id) => this.deleteNow([id])));
  }

  /** Show a session; a new one with `null`. */
  show(sessionId: string | null): void {
    if ((this.conversation?.sessionId ?? null) === sessionId) return;
    this.conversation?.leave();
    this.conversation = sessionId === null ? null : new Conversation(sessionId);
    void this.conversation?.load();
    this.sidebarOpen = false;
    // What was said of another conversation; what can be undone stays for its time.
    this.toasts = this.toasts.filter((toast) => toast.action !== null);
  }

  /** Show the list, or hide it. */
  toggleList(): void {
    if (matchMedia(NARROW).matches) {
      this.sidebarOpen = !this.sidebarOpen;
      return;
    }
    this.sidebarShut = !this.sidebarShut;
    try {
      if (this.sidebarShut) localStorage.setItem(SHUT_KEY, 'shut');
      else localStorage.removeItem(SHUT_KEY);
    } catch {
      // Without storage it lasts as long as the page.
    }
  }

  /** Send the message of the new session, which begins it. */
  begin(text: string): void {
    const conversation = new Conversation(fresh());
    conversation.open(text, this.settings);
    this.settings = NO_SETTINGS;
    this.conversation = conversation;
    go(conversation.sessionId);
  }

  toast(text: string, action: Toast['action'] = null, isError = false): number {
    const id = (this.toastCount += 1);
    this.toasts = [...this.toasts, { id, text, action, isError }];
    setTimeout(() => this.dismiss(id), action ? UNDO_MS : TOAST_MS);
    return id;
  }

  dismiss(id: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== id);
  }

  /** Do something, and say so when the server refuses. */
  async attempt<T>(doing: Promise<T>): Promise<T | undefined> {
    try {
      return await doing;
    } catch (error) {
      this.toast(words(error), null, true);
      return undefined;
    }
  }

  /** Open the search, of all or `here`, with its field in place before the next key comes. */
  search(here = false): void {
    this.searchesHere = here;
    flushSync(() => (this.dialog = 'search'));
  }

  /** Download a session as one HTML file. */
  async exportHtml(sessionId: string): Promise<void> {
    const title = displayTitle(this.sessions.find(sessionId)?.title ?? sessionId);
    await this.attempt(
      import('../export/download').then(({ downloadHtml }) => downloadHtml(sessionId, title)),
    );
  }

  announce(text: string): void {
    this.announcement = text;
  }

  /** Delete sessions, after a while in which it can be undone. */
  delete(sessionIds: readonly string[]): void {
    const [first = ''] = sessionIds;
    const title = displayTitle(this.sessions.find(first)?.title ?? t.toasts.untitled);
    const wasShown = sessionIds.find((id) => id === route.sessionId);
    this.sessions.hide(sessionIds);
    if (wasShown !== undefined) go(null);
    for (const id of sessionIds) this.deletions.add(id);
    const timer = setTimeout(() => void this.deleteNow(sessionIds), UNDO_MS);
    const undo = () => {
      clearTimeout(timer);
      for (const id of sessionIds) this.deletions.delete(id);
      this.sessions.show(sessionIds);
      this.dismiss(toast);
      if (wasShown !== undefined) go(wasShown);
    };
    const text =
      sessionIds.length === 1 ? t.toasts.deleted(title) : t.toasts.deletedMany(sessionIds.length);
    const toast = this.toast(text, { label: t.common.undo, run: undo });
  }

  /** Put sessions into the archive, or take them out again, which can be undone. */
  async archive(sessionIds: readonly string[], archived: boolean): Promise<void> {
    const move = async (to: boolean) => {
      for (const id of sessionIds) await this.sessions.change(id, { archived: to });
      return true;
    };
    if (!(await this.attempt(move(archived)))) return;
    const undo = () => {
      this.dismiss(toast);
      void this.attempt(move(!archived));
    };
    const text = archived ? t.toasts.archived : t.toasts.unarchived;
    const toast = this.toast(text(sessionIds.length), { label: t.common.undo, run: undo });
  }

  /** Bring a file of conversations in. */
  async bring(file: File): Promise<void> {
    const started = this.toast(t.files.importing(file.name));
    try {
      const isArchive = /\.zip$/i.test(file.name);
      const body = isArchive ? await conversationsIn(file) : file;
      const type = /\.jsonl$/i.test(file.name) ? 'application/jsonl' : 'application/json';
      const headers = { 'Content-Type': type };
      const answer = await fetch(`${BASE}/import`, { method: 'POST', headers, body });
      const report: unknown = await answer.json().catch(() => null);
      if (!answer.ok) throw Problem.from(report, answer.status);
      this.toast(summary(report as ImportReport));
      await this.sessions.load();
    } catch (error) {
      const why = error instanceof Unusable ? error.message : words(error);
      this.toast(`${file.name}: ${why}`, null, true);
    } finally {
      this.dismiss(started);
    }
  }

  /** Make text files part of the message that is being written; what is no text gets an answer. */
  async attach(files: readonly File[]): Promise<void> {
    for (const file of files) {
      try {
        this.insert(await asBlock(file));
      } catch (error) {
        this.toast(error instanceof Unusable ? error.message : words(error), null, true);
      }
    }
  }

  /** Add text to the message that is being written. */
  insert(text: string): void {
    this.insertion = this.insertion === null ? text : `${this.insertion}\n${text}`;
  }

  private async deleteNow(sessionIds: Iterable<string>): Promise<void> {
    let refused: unknown;
    for (const id of sessionIds) {
      if (!this.deletions.delete(id)) continue;
      try {
        await this.deleteOne(id);
        this.sessions.forget(id);
      } catch (error) {
        this.sessions.show([id]);
        refused = error;
      }
    }
    if (refused !== undefined) this.toast(t.toasts.notDeleted(words(refused)), null, true);
  }

  private async deleteOne(sessionId: string): Promise<void> {
    const path = `${BASE}/sessions/${encodeURIComponent(sessionId)}`;
    // It goes out even when the page is closed in this moment.
    const answer = await fetch(path, { method: 'DELETE', keepalive: true });
    if (!answer.ok && answer.status !== 404) {
      throw Problem.from(await answer.json().catch(() => null), answer.status);
    }
  }

  private async watch(): Promise<void> {
    const { signal } = new AbortController();
    let listed = false;
    const connected = (is: boolean) => {
      this.connected = is;
      // Read when events come already: nothing that happens in between is missed.
      if (is && !listed) void this.sessions.load();
      listed ||= is;
      if (is && this.conversation?.state === 'failed') void this.conversation.load();
    };
    for await (const event of follow('/events', { signal, connected })) {
      const { session_id: concerned } = event.data;
      this.sessions.apply(event).catch(() => {});
      if (!concerned || concerned === this.conversation?.sessionId) {
        this.conversation?.apply(event).catch(() => {});
      }
    }
  }
}

function wasShut(): boolean {
  try {
    return localStorage.getItem(SHUT_KEY) === 'shut';
  } catch {
    return false;
  }
}

function summary({ imported = 0, messages = 0, skipped_count: skipped = 0 }: ImportReport): string {
  const brought = t.files.imported(t.common.conversations(imported), t.common.messages(messages));
  return skipped === 0 ? brought : `${brought} ${t.files.skipped(t.common.conversations(skipped))}`;
}

export const app = new App();
