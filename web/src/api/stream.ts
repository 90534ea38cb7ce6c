/** Server-sent events over connections that are opened again, for as long as it takes. */

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { BASE, Problem } from './client';
import { request } from './request';

export interface ServerEvent {
  id: string;
  name: string;
  // Each event name has its own payload; whoever handles the event knows its shape.
  data: Record<string, any>;
}

/** The events that end a turn's stream. */
export const TERMINAL_EVENTS = new Set([
  'turn.completed',
  'turn.failed',
  'turn.cancelled',
  'turn.interrupted',
]);

/** The server sends a comment every 15 seconds: a connection that is idle for longer is dead. */
const IDLE_TIMEOUT_MS = 40_000;
const RETRY_DELAYS_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];
/** How long a tab may be hidden before it closes its connections: a browser has six per server. */
const HIDDEN_TIMEOUT_MS = 20_000;

/**
 * Open a stream of events.
 *
 * @param path - The path below the server's address, with a leading slash.
 * @param init - The request; `Accept` and `cache` are set here.
 * @throws `Problem` if the server refused, another error if it was not reached or did not begin a
 *   response within 40 seconds.
 */
export async function openStream(path: string, init: RequestInit): Promise<Response> {
  const headers = { Accept: 'text/event-stream', ...init.headers };
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), IDLE_TIMEOUT_MS);
  const signal = AbortSignal.any([timeout.signal, ...(init.signal ? [init.signal] : [])]);
  try {
    const response = await request(BASE + path, { ...init, headers, signal, cache: 'no-store' });
    if (response.ok) return response;
    throw Problem.from(await response.json().catch(() => null), response.status);
  } finally {
    clearTimeout(timer);
  }
}

/** The events of one response, until it ends. Throws if the connection breaks or stays idle. */
export async function* readEvents(response: Response): AsyncGenerator<ServerEvent> {
  if (!response.body) return;
  let restartTimer = () => {};
  const watched = new TransformStream<Uint8Array, Uint8Array>({
    transform(bytes, out) {
      restartTimer();
      out.enqueue(bytes);
    },
  });
  const events = response.body
    .pipeThrough(watched)
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  let timer = 0;
  try {
    for (;;) {
      const idle = new Promise<never>((_, reject) => {
        restartTimer = () => {
          clearTimeout(timer);
          timer = window.setTimeout(
            () => reject(new Error('The connection is idle.')),
            IDLE_TIMEOUT_MS,
          );
        };
        restartTimer();
      });
      const { done, value } = await Promise.race([reader.read(), idle]);
      if (done) return;
      if (value.id !== undefined && value.event !== undefined) {
        yield { id: value.id, name: value.event, data: JSON.parse(value.data) };
      }
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
}

export interface SubscribeOptions {
  /** Ends the subscription. */
  signal: AbortSignal;
  /** The id of the last event that was read; the subscription continues after it. */
  lastEventId?: string | undefined;
  /** Called with true when a connection is open, with false when it is lost. */
  onConnectionChange?: (isConnected: boolean) => void;
}

/**
 * The events at `path`, over as many connections as it takes: to the terminal event of a turn, or
 * without end. Each connection continues after the last event of the one before.
 *
 * @param path - The path below the server's address, with a leading slash.
 * @param options - See `SubscribeOptions`.
 * @throws `Problem` only if there is no such stream (404). It ends when the server wants a key (401).
 *   Every other error is retried.
 */
export async function* subscribe(
  path: string,
  options: SubscribeOptions,
): AsyncGenerator<ServerEvent> {
  let { lastEventId } = options;
  for (let failures = 0; !options.signal.aborted; failures += 1) {
    await untilVisible(options.signal);
    const visible = whileVisible(options.signal);
    try {
      const headers: HeadersInit =
        lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId };
      const response = await openStream(path, { headers, signal: visible.signal });
      options.onConnectionChange?.(true);
      if (response.status === 204) return;
      for await (const event of readEvents(response)) {
        failures = 0;
        lastEventId = event.id;
        yield event;
        if (TERMINAL_EVENTS.has(event.name)) return;
      }
    } catch (error) {
      if (error instanceof Problem && error.status === 404) throw error;
      // Signing in reads the page again.
      if (error instanceof Problem && error.status === 401) return;
      if (!visible.signal.aborted && !options.signal.aborted) options.onConnectionChange?.(false);
    } finally {
      visible.stop();
    }
    const retry = Math.min(failures, RETRY_DELAYS_MS.length - 1);
    await delay(RETRY_DELAYS_MS[retry] ?? 0, options.signal);
  }
}

/** Wait; shorter if the network comes back or the signal is aborted. */
export function delay(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      window.removeEventListener('online', end);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    window.addEventListener('online', end);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

/** Wait until the page is visible or the signal is aborted. */
function untilVisible(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const check = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener('visibilitychange', check);
      signal.removeEventListener('abort', check);
      resolve();
    };
    document.addEventListener('visibilitychange', check);
    signal.addEventListener('abort', check);
    check();
  });
}

/** A signal that is aborted with `signal`, or when the page was hidden for a while. */
function whileVisible(signal: AbortSignal): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  let timer = 0;
  const abort = () => controller.abort();
  const check = () => {
    clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(abort, HIDDEN_TIMEOUT_MS);
  };
  document.addEventListener('visibilitychange', check);
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  check();
  return {
    signal: controller.signal,
    stop: () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', check);
      signal.removeEventListener('abort', abort);
    },
  };
}
