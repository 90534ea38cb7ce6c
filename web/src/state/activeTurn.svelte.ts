/** A turn that is not over yet, as it is shown: what was asked, and the answer as it grows. */

import { Problem, words, type Status } from '../api/client';
import { t } from '../language';
import { follow, open, pause, read, LAST, type ServerEvent } from '../api/stream';
import { drop, type Body } from './outbox';

export type Phase = 'sending' | 'refused' | 'accepted' | 'ended';

/** How often a message is sent again that the server had no time for. */
const RETRIES = 20;

export class Live {
  phase = $state<Phase>('sending');
  text = $state('');
  question = $state<string | null>(null);
  turnId = $state<string | null>(null);
  userMessageId = $state<string | null>(null);
  messageId = $state<string | null>(null);
  model = $state<string | null>(null);
  /** Why it was refused, or how it ended without a whole reply. */
  problem = $state<Problem | null>(null);
  /** What is in the way right now, in words; it is tried again meanwhile. */
  trouble = $state<string | null>(null);
  /** How the turn ended. */
  status: Status = 'running';
  readonly startedAt = new Date().toISOString();

  /** Settled when the server has the message, or has refused it. */
  readonly settled: Promise<void>;
  private settle: () => void = () => {};
  /** Settled when no turn is before it. */
  private readonly first: Promise<void>;
  private isFirst = false;
  private wake: () => void = () => {};
  private readonly stopping = new AbortController();
  private readonly abandoning = new AbortController();
  private after: string | undefined;
  private arrived = '';
  private frame = 0;

  constructor(
    /** Stays the same from the first moment on: what is shown is not replaced. */
    readonly key: string,
    /** What is sent; nothing for a turn that another has sent. */
    readonly body: Body | null,
  ) {
    this.settled = new Promise((resolve) => (this.settle = resolve));
    this.first = new Promise((resolve) => (this.wake = resolve));
    this.question = body?.message ?? null;
  }

  /** A turn that the server runs or keeps in line already. */
  static of(turnId: string): Live {
    const live = new Live(turnId, null);
    live.turnId = turnId;
    live.phase = 'accepted';
    live.settle();
    return live;
  }

  /** Send what there is to send, and read to the turn's end, whatever happens to connections. */
  async run(): Promise<void> {
    try {
      if (this.turnId === null) await this.send();
      await this.first;
      if (this.turnId !== null && this.phase !== 'ended') await this.attend(this.turnId);
    } catch (error) {
      this.problem = error instanceof Problem ? error : new Problem(0, '', words(error));
      this.phase = this.turnId === null ? 'refused' : 'ended';
      this.status = 'failed';
    } finally {
      this.show();
      this.settle();
    }
  }

  /** Read it: no turn is before it. Those that wait hold no connection, of which there are six. */
  go(): void {
    this.isFirst = true;
    this.wake();
  }

  /** Read no more. The turn goes on, and what was not accepted yet is sent all the same. */
  async leave(): Promise<void> {
    await this.settled;
    this.stopping.abort();
    this.wake();
  }

  /** Try no longer to send it. It may have arrived all the same: then it is told as others' are. */
  abandon(): void {
    this.abandoning.abort();
  }

  private async send(): Promise<void> {
    if (this.body === null) return;
    const response = await this.post(this.body);
    const [, turnId] =
      /\/turns\/([^/]+)\/events/.exec(response.headers.get('Content-Location') ?? '') ?? [];
    this.turnId = turnId ?? null;
    this.phase = 'accepted';
    this.trouble = null;
    drop(this.key);
    this.settle();
    // Whoever keeps the line has said by then whether this is the first of it.
    await this.settled;
    if (!this.isFirst) {
      void response.body?.cancel();
      return;
    }
    try {
      for await (const event of read(response)) {
        this.take(event);
        if (this.stopping.signal.aborted) return;
      }
    } catch {
      // The connection broke; the turn is read on from there.
    }
  }

  /** Post until the server has an answer to it. Throws `Problem` when that is a refusal. */
  private async post(body: Body): Promise<Response> {
    for (let tries = 0; ; tries += 1) {
      let wait = Math.min(1 + tries, 10);
      try {
        return await open('/chat', {
          method: 'POST',
          headers: { 'Content-Type': 'application/json', 'Idempotency-Key': this.key },
          body: JSON.stringify(body),
          signal: this.abandoning.signal,
        });
      } catch (error) {
        const passes = !(error instanceof Problem) || error.status === 503;
        if (!passes || tries >= RETRIES || this.abandoning.signal.aborted) throw error;
        if (error instanceof Problem) wait = Math.max(wait, error.retryAfter ?? 0);
        this.trouble = words(error);
      }
      await pause(wait * 1_000, AbortSignal.any([this.stopping.signal, this.abandoning.signal]));
    }
  }

  private async attend(turnId: string): Promise<void> {
    const events = follow(`/turns/${turnId}/events`, {
      signal: this.stopping.signal,
      after: this.after,
      connected: (is) => (this.trouble = is ? null : t.answer.connectionLost),
    });
    for await (const event of events) this.take(event);
  }

  private take({ id, name, data }: ServerEvent): void {
    this.after = id;
    if (name === 'turn.started') {
      this.turnId = data.turn_id;
      this.userMessageId = data.user_message_id;
      this.messageId = data.message_id;
      this.model = data.model;
    } else if (name === 'message.delta') {
      this.append(data.text);
    } else if (name === 'turn.restarted') {
      this.arrived = '';
      this.show();
    } else if (LAST.has(name)) {
      this.status = name.slice('turn.'.length) as Status;
      this.arrived = data.response ?? data.text ?? this.arrived;
      if (name === 'turn.failed' || name === 'turn.interrupted') {
        this.problem = Problem.from(data, data.status ?? 500);
      }
      this.show();
      this.phase = 'ended';
    }
  }

  /** Show what has arrived with the next picture: a model may write faster than a screen draws. */
  private append(text: string): void {
    this.arrived += text;
    if (this.frame !== 0) return;
    const draw = document.hidden
      ? (show: () => void) => setTimeout(show, 250)
      : requestAnimationFrame;
    this.frame = draw(() => this.show()) as number;
  }

  private show(): void {
    this.frame = 0;
    this.text = this.arrived;
  }
}
