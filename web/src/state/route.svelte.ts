/** Which session is shown: `#/` is a new one, `#/<id>` another, `#/<id>?message=<id>` a place in it. */

class Route {
  sessionId = $state<string | null>(null);
  messageId = $state<string | null>(null);

  constructor() {
    window.addEventListener('hashchange', () => this.read());
    this.read();
  }

  /** Take over what the address says. */
  read(): void {
    const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?');
    try {
      this.sessionId = path === '' ? null : decodeURIComponent(path);
    } catch {
      this.sessionId = null;
    }
    this.messageId = new URLSearchParams(query).get('message');
  }
}

export const route = new Route();

/** The address of a session, or of a message in it; of a new session with `null`. */
export function address(sessionId: string | null, messageId?: string | null): string {
  if (sessionId === null) return '#/';
  const place = messageId ? `?message=${encodeURIComponent(messageId)}` : '';
  return `#/${encodeURIComponent(sessionId)}${place}`;
}

export function go(sessionId: string | null, messageId?: string | null): void {
  location.hash = address(sessionId, messageId);
  // The event about it comes later than what is done next.
  route.read();
}
