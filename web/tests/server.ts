/** A scripted server behind `fetch`: the only part of a test that is not the page's own code. */

export interface ReceivedRequest {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: Headers;
  body: any;
}

type Handler = (request: ReceivedRequest) => Response | Promise<Response>;

export class Server {
  /** All requests, in the order in which they came. */
  readonly requests: ReceivedRequest[] = [];
  readonly #handlers = new Map<string, Handler>();
  readonly #pending = new Set<Promise<Response>>();

  /** Answer requests to a route, such as `GET /models`. Later calls replace earlier ones. */
  on(route: string, handler: Handler): void {
    this.#handlers.set(route, handler);
  }

  /** The requests to a route. */
  received(route: string): ReceivedRequest[] {
    return this.requests.filter(({ method, path }) => `${method} ${path}` === route);
  }

  /** Wait until every request is answered, and the page has read the answers. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#pending);
    await new Promise((resolve) => setTimeout(resolve));
  }

  /** What `fetch` does in tests. A request without a handler is answered with 404. */
  async fetch(request: Request): Promise<Response> {
    const { pathname: path, searchParams: query } = new URL(request.url);
    const { method, headers, signal } = request;
    const text = await request.text();
    const body = text === '' ? null : JSON.parse(text);
    const received = { method, path, query, headers, body };
    this.requests.push(received);
    const handler = this.#handlers.get(`${method} ${path}`) ?? (() => problem(404, 'not-found'));
    const pending = Promise.race([Promise.resolve(received).then(handler), aborted(signal)]);
    this.#pending.add(pending);
    const response = await pending.finally(() => this.#pending.delete(pending));
    if (response.body === null) return response;
    // An abort also ends a response that has begun.
    const readable = response.body.pipeThrough(new TransformStream(), { signal });
    return new Response(readable, response);
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(new DOMException('Aborted', 'AbortError'));
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort);
  });
}

export function json(body: unknown, init: ResponseInit = {}): Response {
  return Response.json(body, init);
}

/** A refusal by the server (RFC 9457). */
export function problem(status: number, code: string, more: object = {}): Response {
  const body = {
    type: `/problems/${code}`,
    title: `Title of ${code}`,
    detail: `Detail of ${code}`,
  };
  return Response.json({ ...body, status, ...more }, { status });
}

/** A response whose events are sent one by one. */
export class EventStream {
  readonly response: Response;
  #out!: ReadableStreamDefaultController<Uint8Array>;
  #lastId = 0;
  /** Whether the page has closed the connection. */
  isClosed = false;

  constructor(headers: HeadersInit = {}) {
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#out = controller),
      cancel: () => void (this.isClosed = true),
    });
    this.response = new Response(body, { headers });
  }

  send(name: string, data: object): void {
    const id = (this.#lastId += 1);
    const text = `id: ${id}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
    this.#out.enqueue(new TextEncoder().encode(text));
  }

  end(): void {
    this.#out.close();
  }

  /** End the response as a lost connection does. */
  breakOff(): void {
    this.#out.error(new TypeError('network error'));
  }
}
