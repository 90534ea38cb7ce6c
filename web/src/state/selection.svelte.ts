/** The sessions that are selected in the list, to be archived, exported or deleted together. */

class Selection {
  /** Whether clicks select sessions instead of opening them. */
  active = $state(false);
  ids = $state.raw<ReadonlySet<string>>(new Set());
  /** The session that was selected last, where the next range begins. */
  #anchor: string | null = null;

  /** Start to select, with one session. */
  start(sessionId: string): void {
    this.active = true;
    this.ids = new Set([sessionId]);
    this.#anchor = sessionId;
  }

  end(): void {
    this.active = false;
    this.ids = new Set();
    this.#anchor = null;
  }

  toggle(sessionId: string): void {
    const ids = new Set(this.ids);
    if (!ids.delete(sessionId)) ids.add(sessionId);
    this.ids = ids;
    this.#anchor = sessionId;
  }

  /**
   * Add all sessions from the one that was selected last to this one.
   *
   * @param order - The ids of all sessions, in the order of the list.
   * @param sessionId - The other end of the range; if none was selected before, the whole range.
   */
  extend(order: readonly string[], sessionId: string): void {
    const ends = [order.indexOf(this.#anchor ?? sessionId), order.indexOf(sessionId)];
    const [from = 0, to = 0] = ends.toSorted((a, b) => a - b);
    this.active = true;
    this.ids = new Set([...this.ids, ...order.slice(Math.max(from, 0), to + 1)]);
    this.#anchor = sessionId;
  }

  /** Deselect the sessions that are not among these. */
  restrictTo(sessionIds: readonly string[]): void {
    const left = sessionIds.filter((id) => this.ids.has(id));
    if (left.length < this.ids.size) this.ids = new Set(left);
  }
}

export const selection = new Selection();
