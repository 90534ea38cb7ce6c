/** Sessions of the list that are chosen together, to be archived, carried away or deleted. */

class Selection {
  /** Whether the list is there to choose from, and not to open what is in it. */
  active = $state(false);
  ids = $state.raw<ReadonlySet<string>>(new Set());
  /** Where a range begins. */
  private anchor: string | null = null;

  /** Begin to choose, with one session. */
  begin(sessionId: string): void {
    this.active = true;
    this.ids = new Set([sessionId]);
    this.anchor = sessionId;
  }

  end(): void {
    this.active = false;
    this.ids = new Set();
    this.anchor = null;
  }

  toggle(sessionId: string): void {
    const ids = new Set(this.ids);
    if (!ids.delete(sessionId)) ids.add(sessionId);
    this.ids = ids;
    this.anchor = sessionId;
  }

  /** Add all from the one that was chosen last up to this one, as `order` lists them. */
  extend(order: readonly string[], sessionId: string): void {
    const ends = [order.indexOf(this.anchor ?? sessionId), order.indexOf(sessionId)];
    const [from = 0, to = 0] = ends.toSorted((a, b) => a - b);
    this.active = true;
    this.ids = new Set([...this.ids, ...order.slice(Math.max(from, 0), to + 1)]);
    this.anchor = sessionId;
  }

  /** Leave out what the list has no more. */
  keep(sessionIds: readonly string[]): void {
    const left = sessionIds.filter((id) => this.ids.has(id));
    if (left.length < this.ids.size) this.ids = new Set(left);
  }
}

export const selection = new Selection();
