/** The page as a whole: the list, the conversation that is shown, and what is told in passing. */

import { api, BASE, fresh, words, type ImportReport, type Models } from '../api/client';
import { Problem } from '../api/client';
import { follow } from '../api/stream';
import { t } from '../language';
import { Conversation, type Settings } from './conversation.svelte';
import { parcels } from './outbox';
import { go, route } from './route.svelte';
import { Sessions } from './sessions.svelte';

export type Dialog = 'search' | 'settings' | 'help' | null;

export interface Toast {
  id: number;
  text: string;
  isError: boolean;
  action: { label: string; run: () => void } | null;
}

const TOAST_MS = 6_000;
/** How long a deletion can be undone. */
const UNDO_MS = 8_000;
const NO_SETTINGS: Settings = { model: null, system_prompt: null, context_messages: null };

class App {
  readonly sessions = new Sessions();
  conversation = $state.raw<Conversation | null>(null);
  models = $state.raw<Models | null>(null);
  dialog = $state<Dialog>(null);
  /** The turn whose receipt is shown. */
  receipt = $state<string | null>(null);
  sidebarOpen = $state(false);
  toasts = $state.raw<readonly Toast[]>([]);
  /** Whether the server tells what happens. */
  connected = $state(true);
  /** What a screen reader says next. */
  announcement = $state('');
  /** The settings of the session that the next message begins. */
  settings = $state.raw<Settings>(NO_SETTINGS);
  private readonly deletions = new Map<string, number>();
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
    addEventListener('pagehide', () => this.deletions.forEach((_, id) => this.deleteNow(id)));
  }

  /** Show a session; a new one with `null`. */
  show(sessionId: string | null): void {
    if ((this.conversation?.sessionId ?? null) === sessionId) return;
    this.conversation?.leave();
    this.conversation = sessionId === null ? null : new Conversation(sessionId);
    void this.conversation?.load();
    this.sidebarOpen = false;
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

  announce(text: string): void {
    this.announcement = text;
  }

  /** Delete a session, after a while in which it can be undone. */
  delete(sessionId: string): void {
    const title = this.sessions.find(sessionId)?.title ?? t.toasts.untitled;
    const wasShown = route.sessionId === sessionId;
    this.sessions.hide(sessionId);
    if (wasShown) go(null);
    this.deletions.set(
      sessionId,
      window.setTimeout(() => void this.deleteNow(sessionId), UNDO_MS),
    );
    const undo = () => {
      clearTimeout(this.deletions.get(sessionId));
      this.deletions.delete(sessionId);
      this.sessions.show(sessionId);
      this.dismiss(toast);
      if (wasShown) go(sessionId);
    };
    const toast = this.toast(t.toasts.deleted(title), { label: t.common.undo, run: undo });
  }

  /** Bring a file of conversations in. */
  async bring(file: File): Promise<void> {
    const type = /\.jsonl$/i.test(file.name) ? 'application/jsonl' : 'application/json';
    const started = this.toast(`Importing ${file.name}…`);
    try {
      const headers = { 'Content-Type': type };
      const answer = await fetch(`${BASE}/import`, { method: 'POST', headers, body: file });
      const body: unknown = await answer.json().catch(() => null);
      if (!answer.ok) throw Problem.from(body, answer.status);
      this.toast(told(body as ImportReport));
      await this.sessions.load();
    } catch (error) {
      this.toast(`${file.name}: ${words(error)}`, null, true);
    } finally {
      this.dismiss(started);
    }
  }

  private async deleteNow(sessionId: string): Promise<void> {
    clearTimeout(this.deletions.get(sessionId));
    if (!this.deletions.delete(sessionId)) return;
    try {
      const path = `${BASE}/sessions/${encodeURIComponent(sessionId)}`;
      // It goes out even when the page is closed in this moment.
      const answer = await fetch(path, { method: 'DELETE', keepalive: true });
      if (!answer.ok && answer.status !== 404) {
        throw Problem.from(await answer.json().catch(() => null), answer.status);
      }
      this.sessions.forget(sessionId);
    } catch (error) {
      this.sessions.show(sessionId);
      this.toast(t.toasts.notDeleted(words(error)), null, true);
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

function told({ imported = 0, messages = 0, skipped_count: skipped = 0 }: ImportReport): string {
  const many = (count: number, noun: string) =>
    `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
  const brought = `Imported ${many(imported, 'conversation')} with ${many(messages, 'message')}.`;
  return skipped === 0 ? brought : `${brought} Left out: ${many(skipped, 'conversation')}.`;
}

export const app = new App();
