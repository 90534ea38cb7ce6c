/**
 * Messages that the server has not confirmed, and drafts. They are all that the browser stores, for
 * as long as the tab lives. A message that is sent again with its key is stored only once.
 */

import type { ChatRequest } from '../api/client';

/** The body of `POST /chat`. */
export type ChatBody = Pick<ChatRequest, 'session_id'> & Partial<ChatRequest>;

export interface OutboxEntry {
  /** The idempotency key. */
  key: string;
  body: ChatBody;
}

const OUTBOX = 'chatkeep.outbox';
const DRAFT = 'chatkeep.draft:';

/** The messages that are not confirmed, oldest first. */
export function readOutbox(): OutboxEntry[] {
  try {
    return JSON.parse(sessionStorage.getItem(OUTBOX) ?? '[]') as OutboxEntry[];
  } catch {
    return [];
  }
}

/**
 * Add a message, or replace the one with the same key. Messages with files are not added: they are
 * larger than what a browser stores.
 */
export function addToOutbox(entry: OutboxEntry): void {
  if (entry.body.images || entry.body.files) return;
  writeOutbox([...readOutbox().filter(({ key }) => key !== entry.key), entry]);
}

export function removeFromOutbox(key: string): void {
  writeOutbox(readOutbox().filter((entry) => entry.key !== key));
}

/** The text that was typed and not sent in a session; in the new session if `sessionId` is null. */
export function readDraft(sessionId: string | null): string {
  return sessionStorage.getItem(DRAFT + (sessionId ?? '')) ?? '';
}

/** Store the draft of a session (of the new one if `sessionId` is null); an empty text removes it. */
export function writeDraft(sessionId: string | null, text: string): void {
  write(DRAFT + (sessionId ?? ''), text);
}

function writeOutbox(entries: readonly OutboxEntry[]): void {
  write(OUTBOX, entries.length === 0 ? '' : JSON.stringify(entries));
}

function write(name: string, text: string): void {
  try {
    if (text === '') sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, text);
  } catch {
    // Storage may be full or disabled. Then this is lost on a reload, and nothing else.
  }
}
