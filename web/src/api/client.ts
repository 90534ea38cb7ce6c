/** The client of the server's native API: its types, its errors and its cursors. */

import createClient from 'openapi-fetch';
import { t } from '../language';
import { request } from './request';
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
export type Me = components['schemas']['Me'];
export type Status = components['schemas']['Status'];

/** The server's address: the page's own folder, also below a path that a proxy adds. */
export const BASE = new URL('.', document.baseURI).href.replace(/\/$/, '');

export const api = createClient<paths>({ baseUrl: BASE, fetch: request });

/** An error of the API (RFC 9457), or the reason why a turn has no complete reply. */
export class Problem extends Error {
  constructor(
    /** The HTTP status; 0 if there was no response. */
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly type = 'about:blank',
    /** Seconds after which the same request may succeed. */
    readonly retryAfter: number | null = null,
    /** The turn that is stored in spite of the error. */
    readonly turnId: string | null = null,
  ) {
    super(detail);
    this.name = 'Problem';
  }

  /**
   * The problem in the body of a response. Never fails.
   *
   * @param body - The parsed body. Fields that are missing, or not of the type that RFC 9457 demands,
   *   get defaults.
   * @param status - The status of the response, which the body may not repeat.
   */
  static from(body: unknown, status: number): Problem {
    const fields = (body ?? {}) as Record<string, unknown>;
    const text = (value: unknown, fallback: string) =>
      typeof value === 'string' ? value : fallback;
    const title = text(fields.title, t.problems.unexpected(status));
    const retryAfter = typeof fields.retry_after === 'number' ? fields.retry_after : null;
    const turnId = typeof fields.turn_id === 'string' ? fields.turn_id : null;
    const type = text(fields.type, 'about:blank');
    return new Problem(status, title, text(fields.detail, title), type, retryAfter, turnId);
  }
}

/** A text for users about any error. What is not a `Problem` means that no response came. */
export function errorText(error: unknown): string {
  if (error instanceof Problem) return error.detail;
  return t.common.unreachable;
}

/** The data of a successful response. Throws `Problem` for any other. */
export function unwrap<T>(result: { data?: T; error?: unknown; response: Response }): T {
  if (!result.response.ok) throw Problem.from(result.error, result.response.status);
  return result.data as T;
}

/** The cursor of the next or previous page in the `Link` header (RFC 8288), or null. */
export function pageCursor(response: Response, rel: 'next' | 'prev'): string | null {
  for (const link of response.headers.get('Link')?.split(/,\s*(?=<)/) ?? []) {
    const [, url, linkRel] = /^<([^>]*)>;\s*rel="([^"]*)"/.exec(link) ?? [];
    if (url === undefined || linkRel !== rel) continue;
    const query = new URL(url, 'http://server').searchParams;
    return query.get(rel === 'next' ? 'after' : 'before');
  }
  return null;
}

/** A new random id. `crypto.randomUUID` is missing on pages that were loaded by plain HTTP. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
