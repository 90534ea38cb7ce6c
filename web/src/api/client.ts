/** The server's native API, with types from its OpenAPI document, and its errors as `Problem`. */

import createClient from 'openapi-fetch';
import { t } from '../language';
import type { components, paths } from './schema';

export type Session = components['schemas']['Session'];
export type SessionRecord = components['schemas']['SessionRecord'];
export type SessionChange = components['schemas']['SessionChange'];
export type Message = components['schemas']['MessageRecord'];
export type TurnSummary = components['schemas']['TurnSummary'];
export type TurnRecord = components['schemas']['TurnRecord'];
export type ChatRequest = components['schemas']['ChatRequest'];
export type SearchHit = components['schemas']['SearchHit'];
export type Receipt = components['schemas']['Receipt'];
export type ImportReport = components['schemas']['ImportReport'];
export type Models = components['schemas']['Models'];
export type Status = components['schemas']['Status'];

/** Where the server is: beside the page, also below a path that a proxy puts before both. */
export const BASE = new URL('.', document.baseURI).href.replace(/\/$/, '');

export const api = createClient<paths>({ baseUrl: BASE });

/** Why a request was refused or a turn has no whole reply, in the server's words (RFC 9457). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly type = 'about:blank',
    /** Seconds after which the same request may succeed. */
    readonly retryAfter: number | null = null,
    /** The turn that is stored in spite of it. */
    readonly turnId: string | null = null,
  ) {
    super(detail);
    this.name = 'Problem';
  }

  /** What a body says that should be a problem; any body makes one. */
  static from(body: unknown, status: number): Problem {
    const said = (body ?? {}) as Record<string, unknown>;
    const text = (value: unknown, other: string) => (typeof value === 'string' ? value : other);
    const title = text(said.title, t.problems.unexpected(status));
    const after = typeof said.retry_after === 'number' ? said.retry_after : null;
    const turn = typeof said.turn_id === 'string' ? said.turn_id : null;
    const type = text(said.type, 'about:blank');
    return new Problem(status, title, text(said.detail, title), type, after, turn);
  }
}

/** What to tell a person about anything that was thrown. */
export function words(error: unknown): string {
  if (error instanceof Problem) return error.detail;
  return t.common.unreachable;
}

/** The data of an answer. Throws `Problem` when the server refused. */
export function data<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (!answer.response.ok) throw Problem.from(answer.error, answer.response.status);
  return answer.data as T;
}

/** The cursor that the `Link` header (RFC 8288) has for the page `rel`, if there is one. */
export function cursor(response: Response, rel: 'next' | 'prev'): string | null {
  for (const part of response.headers.get('Link')?.split(/,\s*(?=<)/) ?? []) {
    const [, address, said] = /^<([^>]*)>;\s*rel="([^"]*)"/.exec(part) ?? [];
    if (address === undefined || said !== rel) continue;
    const query = new URL(address, 'http://server').searchParams;
    return query.get(rel === 'next' ? 'after' : 'before');
  }
  return null;
}

/** A name that nobody has used. `crypto.randomUUID` is missing where the page came by plain HTTP. */
export function fresh(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
