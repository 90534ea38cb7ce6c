/**
 * What was sent and is not known to have arrived, and what is not sent yet: the only things that the
 * browser keeps, for as long as the tab lives. Sent again with its key, a message is never doubled.
 */

import type { ChatRequest } from '../api/client';

export type Body = Pick<ChatRequest, 'session_id'> & Partial<ChatRequest>;

export interface Parcel {
  /** The idempotency key. */
  key: string;
  body: Body;
}

const OUTBOX = 'chatkeep.outbox';
const DRAFT = 'chatkeep.draft:';

export function parcels(): Parcel[] {
  try {
    return JSON.parse(sessionStorage.getItem(OUTBOX) ?? '[]') as Parcel[];
  } catch {
    return [];
  }
}

export function put(parcel: Parcel): void {
  keep(OUTBOX, JSON.stringify([...parcels().filter(({ key }) => key !== parcel.key), parcel]));
}

export function drop(key: string): void {
  const left = parcels().filter((parcel) => parcel.key !== key);
  keep(OUTBOX, left.length === 0 ? '' : JSON.stringify(left));
}

/** What somebody has begun to write in a session; `null` is a new one. */
export function draft(sessionId: string | null): string {
  return sessionStorage.getItem(DRAFT + (sessionId ?? '')) ?? '';
}

export function keepDraft(sessionId: string | null, text: string): void {
  keep(DRAFT + (sessionId ?? ''), text);
}

function keep(name: string, text: string): void {
  try {
    if (text === '') sessionStorage.removeItem(name);
    else sessionStorage.setItem(name, text);
  } catch {
    // Storage may be full or switched off; then a reload forgets, and nothing else is lost.
  }
}
