/** The state of the page: the list of sessions, the conversation that is shown, dialogs and toasts. */

import { flushSync } from 'svelte';
import {
  api,
  BASE,
  errorText,
  newId,
  Problem,
  type ImportReport,
  type Models,
} from '../api/client';
import { request } from '../api/request';
import { subscribe } from '../api/stream';
import { t } from '../language';
import { Conversation, type Settings } from './conversation.svelte';
import { conversationsInArchive, fileAsBlock, UnusableFile } from './files';
import { draftPictures, isPicture } from './pictures.svelte';
import { readOutbox } from './outbox';
import { navigate, route } from './route.svelte';
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
const COLLAPSED_KEY = 'chatkeep.sidebar';
const COLLAPSED_VALUE = 'shut';
/** The media query under which the sidebar is a drawer, the same as in the styles. */
export const NARROW = '(max-width: 760px)';
const DEFAULT_SETTINGS: Settings = {
  model: null,
  system_prompt: null,
  context_messages: null,
  temperature: null,
  max_tokens: null,
};

class App {
  readonly sessions = new Sessions();
  /** The conversation that is shown; null for a new one. */
  conversation = $state.raw<Conversation | null>(null);
  models = $state.raw<Models | null>(null);
  dialog = $state<Dialog>(null);
  /** The turn whose context is shown in a dialog. */
  receiptTurnId = $state<string | null>(null);
  /** The picture that is shown large. */
  picture = $state.raw<{ source: string; name: string } | null>(null);
  /** Whether the window is narrow, so that the sidebar is a drawer. */
  isNarrow = $state(false);
  /** Whether the drawer is open. */
  isDrawerOpen = $state(false);
  /** Whether the sidebar is hidden in a wide window. */
  isSidebarCollapsed = $state(readCollapsed());
  toasts = $state.raw<readonly Toast[]>([]);
  /** Whether the server's events are being received. */
  connected = $state(true);
  /** The text that a screen reader reads out next. */
  announcement = $state('');
  /** Text that the composer adds to the message being written. */
  insertion = $state<string | null>(null);
  /** The terms of the search that led to the message being shown. */
  searchTerms: readonly string[] = [];
  /** Whether the search dialog starts with the current conversation only. */
  isSearchLocal = $state(false);
  /** The settings of the session that the next message creates. */
  newSettings = $state.raw<Settings>(DEFAULT_SETTINGS);
  /** Sessions that are hidden, and deleted on the server when they can no longer be undone. */
  readonly #pendingDeletions = new Set<string>();
  #toastCount = 0;

  /** Connect to the server. Call it once, before the page is mounted. */
  start(): void {
    void this.#watchEvents();
    api.GET('/models').then(
      (result) => (this.models = result.data ?? null),
      () => {},
    );
    for (const { body } of readOutbox()) {
      // Send what this tab had not sent yet in other conversations.
      if (body.session_id === route.sessionId) continue;
      const other = new Conversation(body.session_id);
      void other.load().then(() => other.detach());
    }
    addEventListener('pagehide', () => void this.finishDeletions());
  }

  /** Delete on the server what could still be undone. */
  async finishDeletions(): Promise<void> {
    await Promise.all([...this.#pendingDeletions].map((id) => this.#deleteNow([id])));
  }

  /** Show a session; a new one if `sessionId` is null. */
  showSession(sessionId: string | null): void {
    if ((this.conversation?.sessionId ?? null) === sessionId) return;
    this.conversation?.detach();
    this.conversation = sessionId === null ? null : new Conversation(sessionId);
    void this.conversation?.load();
    this.isDrawerOpen = false;
    // Messages about another conversation are out of date; what can be undone still can.
    this.toasts = this.toasts.filter((toast) => toast.action !== null);
  }

  /** Show or hide the list of sessions. */
  toggleSidebar(): void {
    if (matchMedia(NARROW).matches) {
      this.isDrawerOpen = !this.isDrawerOpen;
      return;
    }
    this.isSidebarCollapsed = !this.isSidebarCollapsed;
    try {
      if (this.isSidebarCollapsed) localStorage.setItem(COLLAPSED_KEY, COLLAPSED_VALUE);
      else localStorage.removeItem(COLLAPSED_KEY);
    } catch {
      // Without storage the choice lasts until the page is closed.
    }
  }

  /** Create a session with its first message and pictures (as data URLs), and show it. */
  startSession(text: string, images: readonly string[]): void {
    const conversation = new Conversation(newId());
    conversation.startSession(text, this.newSettings, images);
    this.newSettings = DEFAULT_SETTINGS;
    this.conversation = conversation;
    navigate(conversation.sessionId);
  }

  /**
   * Show a message for a few seconds.
   *
   * @param text - The message.
   * @param action - A button in the toast, which then stays a little longer.
   * @param isError - Whether it is shown as an error.
   * @returns The toast's id, for `dismiss`.
   */
  toast(text: string, action: Toast['action'] = null, isError = false): number {
    const id = (this.#toastCount += 1);
    this.toasts = [...this.toasts, { id, text, action, isError }];
    setTimeout(() => this.dismiss(id), action ? UNDO_MS : TOAST_MS);
    return id;
  }

  dismiss(toastId: number): void {
    this.toasts = this.toasts.filter((toast) => toast.id !== toastId);
  }

  /** Await a promise; if it rejects, show the error in a toast and return undefined. */
  async attempt<T>(promise: Promise<T>): Promise<T | undefined> {
    try {
      return await promise;
    } catch (error) {
      this.toast(errorText(error), null, true);
      return undefined;
    }
  }

  /** Open the search, of all conversations or of the current one. */
  openSearch(isLocal = false): void {
    this.isSearchLocal = isLocal;
    // At once, so that the next key is typed into the dialog's field.
    flushSync(() => (this.dialog = 'search'));
  }

  /** Download a session as one HTML file. */
  async exportHtml(sessionId: string): Promise<void> {
    const title = displayTitle(this.sessions.find(sessionId)?.title ?? sessionId);
    await this.attempt(
      import('../export/download').then(({ downloadHtml }) => downloadHtml(sessionId, title)),
    );
  }

  /** Let a screen reader read out a text. */
  announce(text: string): void {
    this.announcement = text;
  }

  /** Hide sessions, and delete them on the server when the time to undo is over. */
  delete(sessionIds: readonly string[]): void {
    const [firstId = ''] = sessionIds;
    const title = displayTitle(this.sessions.find(firstId)?.title ?? t.toasts.untitled);
    const shownId = sessionIds.find((id) => id === route.sessionId);
    this.sessions.hide(sessionIds);
    if (shownId !== undefined) navigate(null);
    for (const id of sessionIds) this.#pendingDeletions.add(id);
    const timer = setTimeout(() => void this.#deleteNow(sessionIds), UNDO_MS);
    const undo = () => {
      clearTimeout(timer);
      for (const id of sessionIds) this.#pendingDeletions.delete(id);
      this.sessions.unhide(sessionIds);
      this.dismiss(toastId);
      if (shownId !== undefined) navigate(shownId);
    };
    const text =
      sessionIds.length === 1 ? t.toasts.deleted(title) : t.toasts.deletedMany(sessionIds.length);
    const toastId = this.toast(text, { label: t.common.undo, run: undo });
  }

  /** Archive or unarchive sessions, with a toast to undo it. */
  async archive(sessionIds: readonly string[], archived: boolean): Promise<void> {
    const change = async (value: boolean) => {
      for (const id of sessionIds) await this.sessions.change(id, { archived: value });
      return true;
    };
    if (!(await this.attempt(change(archived)))) return;
    const undo = () => {
      this.dismiss(toastId);
      void this.attempt(change(!archived));
    };
    const text = archived ? t.toasts.archived : t.toasts.unarchived;
    const toastId = this.toast(text(sessionIds.length), { label: t.common.undo, run: undo });
  }

  /** Import a file of conversations: JSON, JSON Lines, or an archive that contains JSON. */
  async importFile(file: File): Promise<void> {
    const progressId = this.toast(t.files.importing(file.name));
    try {
      const isArchive = /\.zip$/i.test(file.name);
      const body = isArchive ? await conversationsInArchive(file) : file;
      const type = /\.jsonl$/i.test(file.name) ? 'application/jsonl' : 'application/json';
      const headers = { 'Content-Type': type };
      const response = await request(`${BASE}/import`, { method: 'POST', headers, body });
      const report: unknown = await response.json().catch(() => null);
      if (!response.ok) throw Problem.from(report, response.status);
      this.toast(importSummary(report as ImportReport));
      await this.sessions.load();
    } catch (error) {
      const reason = error instanceof UnusableFile ? error.message : errorText(error);
      this.toast(`${file.name}: ${reason}`, null, true);
    } finally {
      this.dismiss(progressId);
    }
  }

  /** Add text files and pictures to the message being written; a toast names each other file. */
  async attachFiles(files: readonly File[]): Promise<void> {
    const sessionId = this.conversation?.sessionId ?? null;
    for (const file of files) {
      try {
        if (await isPicture(file)) await draftPictures.add(sessionId, file);
        else this.insert(await fileAsBlock(file));
      } catch (error) {
        const reason = error instanceof UnusableFile ? error.message : errorText(error);
        this.toast(reason, null, true);
      }
    }
  }

  /** Add text to the message being written. */
  insert(text: string): void {
    this.insertion = this.insertion === null ? text : `${this.insertion}\n${text}`;
  }

  async #deleteNow(sessionIds: readonly string[]): Promise<void> {
    let lastError: unknown;
    for (const id of sessionIds) {
      if (!this.#pendingDeletions.delete(id)) continue;
      try {
        await this.#deleteOne(id);
        this.sessions.remove(id);
      } catch (error) {
        this.sessions.unhide([id]);
        lastError = error;
      }
    }
    if (lastError !== undefined) {
      this.toast(t.toasts.notDeleted(errorText(lastError)), null, true);
    }
  }

  async #deleteOne(sessionId: string): Promise<void> {
    const path = `${BASE}/sessions/${encodeURIComponent(sessionId)}`;
    // `keepalive`: the request is sent even if the page is being closed.
    const response = await request(path, { method: 'DELETE', keepalive: true });
    if (!response.ok && response.status !== 404) {
      throw Problem.from(await response.json().catch(() => null), response.status);
    }
  }

  /** Apply the server's events to the list and to the conversation, for as long as the page lives. */
  async #watchEvents(): Promise<void> {
    const { signal } = new AbortController();
    let isListLoaded = false;
    const onConnectionChange = (isConnected: boolean) => {
      this.connected = isConnected;
      // Read once events arrive: no change in between is missed.
      if (isConnected && !isListLoaded) void this.sessions.load();
      isListLoaded ||= isConnected;
      if (isConnected && this.conversation?.state === 'failed') void this.conversation.load();
    };
    for await (const event of subscribe('/events', { signal, onConnectionChange })) {
      const sessionId: string | undefined = event.data.session_id;
      this.sessions.applyEvent(event).catch(() => {});
      if (!sessionId || sessionId === this.conversation?.sessionId) {
        this.conversation?.applyEvent(event).catch(() => {});
      }
    }
  }
}

function readCollapsed(): boolean {
  try {
    return localStorage.getItem(COLLAPSED_KEY) === COLLAPSED_VALUE;
  } catch {
    return false;
  }
}

function importSummary(report: ImportReport): string {
  const { imported = 0, messages = 0, skipped_count: skipped = 0 } = report;
  const text = t.files.imported(t.common.conversations(imported), t.common.messages(messages));
  return skipped === 0 ? text : `${text} ${t.files.skipped(t.common.conversations(skipped))}`;
}

export const app = new App();
