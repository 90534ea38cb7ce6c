/** A turn that is not stored as messages yet: what was sent, its steps, and the reply as it grows. */

import { errorText, Problem, type Message, type Status } from '../api/client';
import { t } from '../language';
import {
  delay,
  openStream,
  readEvents,
  subscribe,
  TERMINAL_EVENTS,
  type ServerEvent,
} from '../api/stream';
import { removeFromOutbox, type ChatBody } from './outbox';
import { partsOf, type AttachedFile, type Part } from './parts';

export type Phase = 'sending' | 'refused' | 'accepted' | 'ended';

/** How often a message is sent again while the server is overloaded or cannot be reached. */
const MAX_RETRIES = 20;
/** How often new pieces are shown while the page is hidden, which gets no animation frames. */
const HIDDEN_FRAME_MS = 250;

export class ActiveTurn {
  phase = $state<Phase>('sending');
  /** The steps that are complete. */
  steps = $state.raw<readonly Message[]>([]);
  /** The parts of the message under way, as far as they have arrived. */
  parts = $state.raw<readonly Part[]>([]);
  /** What the user wrote; null if that is not known, or if the turn took in no message of a user. */
  userText = $state<string | null>(null);
  /** Pictures and documents beside it. */
  userFiles = $state.raw<readonly AttachedFile[]>([]);
  turnId = $state<string | null>(null);
  userMessageId = $state<string | null>(null);
  /** The id of the reply. */
  messageId = $state<string | null>(null);
  /** Why it was refused, or why it ended without a complete reply. */
  problem = $state<Problem | null>(null);
  /** Why sending or reading is being retried, as a text for users; null if it is not. */
  retryReason = $state<string | null>(null);
  /** How the turn ended. */
  status: Status = 'running';
  readonly startedAt = new Date().toISOString();

  /** Resolves when the server has accepted or refused the message. */
  readonly settled: Promise<void>;
  #settle: () => void = () => {};
  readonly #readingAllowed: Promise<void>;
  #isReadingAllowed = false;
  #resolveReadingAllowed: () => void = () => {};
  readonly #detachController = new AbortController();
  readonly #sendController = new AbortController();
  #lastEventId: string | undefined;
  /** The parts that have arrived; `parts` follows with the next frame. */
  #received: readonly Part[] = [];
  #frame = 0;

  /**
   * @param key - The idempotency key, which also identifies the turn's rows for as long as it is
   *   shown.
   * @param body - What is to be sent; null for a turn that was sent from elsewhere.
   */
  constructor(
    readonly key: string,
    readonly body: ChatBody | null,
  ) {
    this.settled = new Promise((resolve) => (this.#settle = resolve));
    this.#readingAllowed = new Promise((resolve) => (this.#resolveReadingAllowed = resolve));
    this.userText = body?.message ?? null;
    this.userFiles = (body?.images ?? []).map((url) => ({
      type: 'image',
      fileId: null,
      url,
      name: null,
    }));
  }

  /** The text of the message under way: in the end, of the reply. */
  get text(): string {
    return textIn(this.parts);
  }

  /** Whether the turn has nothing yet that would be stored. */
  get isEmpty(): boolean {
    return this.steps.length === 0 && this.parts.every(({ type }) => type === 'reasoning');
  }

  /** A turn that the server already runs or has queued. */
  static fromServer(turnId: string): ActiveTurn {
    const turn = new ActiveTurn(turnId, null);
    turn.turnId = turnId;
    turn.phase = 'accepted';
    turn.#settle();
    return turn;
  }

  /** Send the message if there is one, and read the turn to its end. Never rejects. */
  async run(): Promise<void> {
    try {
      if (this.turnId === null) await this.#send();
      await this.#readingAllowed;
      if (this.turnId !== null && this.phase !== 'ended') await this.#readToEnd(this.turnId);
    } catch (error) {
      this.problem = error instanceof Problem ? error : new Problem(0, '', errorText(error));
      this.phase = this.turnId === null ? 'refused' : 'ended';
      this.status = 'failed';
    } finally {
      this.#showReceived();
      this.#settle();
    }
  }

  /** Start reading events: no other turn is before this one. Queued turns hold no connection. */
  allowReading(): void {
    this.#isReadingAllowed = true;
    this.#resolveReadingAllowed();
  }

  /** Stop reading, after the message was sent. The turn continues on the server. */
  async detach(): Promise<void> {
    await this.settled;
    this.#detachController.abort();
    this.#resolveReadingAllowed();
  }

  /** Stop sending the message. It may have arrived; then the server's events announce its turn. */
  stopSending(): void {
    this.#sendController.abort();
  }

  async #send(): Promise<void> {
    if (this.body === null) return;
    const response = await this.#post(this.body);
    const [, turnId] =
      /\/turns\/([^/]+)\/events/.exec(response.headers.get('Content-Location') ?? '') ?? [];
    this.turnId = turnId ?? null;
    this.phase = 'accepted';
    this.retryReason = null;
    removeFromOutbox(this.key);
    this.#settle();
    // The conversation also awaits `settled`, and then allows the first turn to read.
    await this.settled;
    if (!this.#isReadingAllowed) {
      response.body?.cancel().catch(() => {});
      return;
    }
    try {
      for await (const event of readEvents(response)) this.#applyEvent(event);
    } catch {
      // The connection broke; `readToEnd` continues after the last event.
    }
  }

  /** Post until the server answers. Throws `Problem` if it refuses. */
  async #post(body: ChatBody): Promise<Response> {
    // `detach` aborts only once the message is accepted: it ends the stream of the response.
    const signal = AbortSignal.any([this.#detachController.signal, this.#sendController.signal]);
    for (let tries = 0; ; tries += 1) {
      let seconds = Math.min(1 + tries, 10);
      try {
        return await openStream('/chat', {
          method: 'POST',
          headers: { 'Content-Type': 'application/json', 'Idempotency-Key': this.key },
          body: JSON.stringify(body),
          signal,
        });
      } catch (error) {
        const isTemporary = !(error instanceof Problem) || error.status === 503;
        if (!isTemporary || tries >= MAX_RETRIES || signal.aborted) throw error;
        if (error instanceof Problem) seconds = Math.max(seconds, error.retryAfter ?? 0);
        this.retryReason = errorText(error);
      }
      await delay(seconds * 1_000, signal);
    }
  }

  async #readToEnd(turnId: string): Promise<void> {
    const events = subscribe(`/turns/${turnId}/events`, {
      signal: this.#detachController.signal,
      lastEventId: this.#lastEventId,
      onConnectionChange: (isConnected) =>
        (this.retryReason = isConnected ? null : t.reply.connectionLost),
    });
    for await (const event of events) this.#applyEvent(event);
  }

  #applyEvent({ id, name, data }: ServerEvent): void {
    this.#lastEventId = id;
    if (name === 'turn.started') {
      this.turnId = data.turn_id;
      this.userMessageId = data.user_message_id;
      this.messageId = data.message_id;
    } else if (name === 'message.delta') {
      this.#append('text', data.text);
    } else if (name === 'reasoning.delta') {
      this.#append('reasoning', data.text);
    } else if (name === 'message.completed') {
      this.#startMessage([...this.steps, data as Message]);
    } else if (name === 'turn.restarted') {
      this.#startMessage([]);
    } else if (TERMINAL_EVENTS.has(name)) {
      this.status = name.slice('turn.'.length) as Status;
      this.#received = this.#finalParts(data);
      if (name === 'turn.failed' || name === 'turn.interrupted') {
        this.problem = Problem.from(data, data.status ?? 500);
      }
      this.#showReceived();
      this.phase = 'ended';
    }
  }

  /** Let the next pieces belong to the message after these steps. */
  #startMessage(steps: readonly Message[]): void {
    this.steps = steps;
    this.#received = [];
    this.#showReceived();
  }

  /** The parts of the last message, by the data of a terminal event. */
  #finalParts({ response, text, blocks }: ServerEvent['data']): readonly Part[] {
    const content: string | undefined = response ?? text;
    if (blocks) {
      const [id, created_at] = [this.messageId ?? '', new Date().toISOString()];
      return partsOf([{ id, role: 'assistant', content: content ?? '', created_at, blocks }]);
    }
    if (content === undefined || content === textIn(this.#received)) return this.#received;
    const reasoning = this.#received.filter(({ type }) => type === 'reasoning');
    return content === '' ? reasoning : [...reasoning, { type: 'text', text: content }];
  }

  /** Show new pieces with the next frame: a model may write faster than a screen draws. */
  #append(type: 'text' | 'reasoning', text: string): void {
    const last = this.#received.at(-1);
    const isSame = last?.type === type;
    const before = isSame ? this.#received.slice(0, -1) : this.#received;
    this.#received = [...before, { type, text: isSame ? last.text + text : text }];
    if (this.#frame !== 0) return;
    const request = document.hidden
      ? (show: () => void) => setTimeout(show, HIDDEN_FRAME_MS)
      : requestAnimationFrame;
    this.#frame = request(() => this.#showReceived()) as number;
  }

  #showReceived(): void {
    this.#frame = 0;
    this.parts = this.#received;
  }
}

function textIn(parts: readonly Part[]): string {
  return parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
}
