/** Server-sent events that are read on from where they broke, for as long as it takes. */

import { EventSourceParserStream } from 'eventsource-parser/stream';
import { BASE, Problem } from './client';

export interface ServerEvent {
  id: string;
  name: string;
  // Each name has its own data; who reads an event knows which.
  data: Record<string, any>;
}

/** The events that end a turn's stream. */
export const LAST = new Set([
  'turn.completed',
  'turn.failed',
  'turn.cancelled',
  'turn.interrupted',
]);

/** The server sends a comment every 15 seconds: one that is silent for longer has gone away. */
const SILENCE_MS = 40_000;
const PAUSES_MS = [250, 500, 1_000, 2_000, 4_000, 8_000];
/** How long a tab may be hidden before it gives its connections back: a browser has six of them. */
const HIDDEN_MS = 20_000;

/** Ask for a stream. Throws `Problem` when the server refused, anything else when it was not reached. */
export async function open(path: string, init: RequestInit): Promise<Response> {
  const headers = { Accept: 'text/event-stream', ...init.headers };
  // A stream begins at once: what says nothing for so long is a connection into nowhere.
  const waiting = new AbortController();
  const timer = setTimeout(() => waiting.abort(), SILENCE_MS);
  const signal = AbortSignal.any([waiting.signal, ...(init.signal ? [init.signal] : [])]);
  try {
    const response = await fetch(BASE + path, { ...init, headers, signal, cache: 'no-store' });
    if (response.ok) return response;
    throw Problem.from(await response.json().catch(() => null), response.status);
  } finally {
    clearTimeout(timer);
  }
}

/** The events of one response, until it ends or breaks. */
export async function* read(response: Response): AsyncGenerator<ServerEvent> {
  if (!response.body) return;
  let heard = () => {};
  const watched = new TransformStream<Uint8Array, Uint8Array>({
    transform(bytes, out) {
      heard();
      out.enqueue(bytes);
    },
  });
  const events = response.body
    .pipeThrough(watched)
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  let alarm = 0;
  try {
    for (;;) {
      const silent = new Promise<never>((_, reject) => {
        heard = () => {
          clearTimeout(alarm);
          alarm = window.setTimeout(() => reject(new Error('silence')), SILENCE_MS);
        };
        heard();
      });
      const { done, value } = await Promise.race([reader.read(), silent]);
      if (done) return;
      if (value.id !== undefined && value.event !== undefined) {
        yield { id: value.id, name: value.event, data: JSON.parse(value.data) };
      }
    }
  } finally {
    clearTimeout(alarm);
    reader.cancel().catch(() => {});
  }
}

export interface Following {
  /** Ends the reading. */
  signal: AbortSignal;
  /** The id of the last event that is known. */
  after?: string | undefined;
  /** Told whenever the connection is lost or there again. */
  connected?: (is: boolean) => void;
}

/**
 * The events at `path`, over as many connections as it takes: to the last event of a turn, or for
 * ever. Throws `Problem` only when the server says that there is nothing (404).
 */
export async function* follow(path: string, options: Following): AsyncGenerator<ServerEvent> {
  let { after } = options;
  for (let failures = 0; !options.signal.aborted; failures += 1) {
    await shown(options.signal);
    const hidden = whileShown(options.signal);
    try {
      const headers: HeadersInit = after === undefined ? {} : { 'Last-Event-ID': after };
      const response = await open(path, { headers, signal: hidden.signal });
      options.connected?.(true);
      if (response.status === 204) return;
      for await (const event of read(response)) {
        failures = 0;
        after = event.id;
        yield event;
        if (LAST.has(event.name)) return;
      }
    } catch (error) {
      if (error instanceof Problem && error.status === 404) throw error;
      if (!hidden.signal.aborted && !options.signal.aborted) options.connected?.(false);
    } finally {
      hidden.stop();
    }
    await pause(PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? 0, options.signal);
  }
}

/** Wait; shorter when the network is back or the reading ends. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
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

/** Wait until somebody can see the page. */
function shown(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener('visibilitychange', look);
      signal.removeEventListener('abort', look);
      resolve();
    };
    document.addEventListener('visibilitychange', look);
    signal.addEventListener('abort', look);
    look();
  });
}

/** A signal that ends with `signal`, or when nobody has seen the page for a while. */
function whileShown(signal: AbortSignal): { signal: AbortSignal; stop: () => void } {
  const both = new AbortController();
  let timer = 0;
  const end = () => both.abort();
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) timer = window.setTimeout(end, HIDDEN_MS);
  };
  document.addEventListener('visibilitychange', look);
  signal.addEventListener('abort', end);
  if (signal.aborted) end();
  look();
  return {
    signal: both.signal,
    stop: () => {
      clearTimeout(timer);
      document.removeEventListener('visibilitychange', look);
      signal.removeEventListener('abort', end);
    },
  };
}
