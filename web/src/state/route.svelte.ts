/** The page's address: `#/` is a new session, `#/<id>` a session, `#/<id>?message=<id>` a message. */

class Route {
  /** The session that is shown; null for a new one. */
  sessionId = $state<string | null>(null);
  /** The message to scroll to, if any. */
  messageId = $state<string | null>(null);

  constructor() {
    window.addEventListener('hashchange', () => this.read());
    this.read();
  }

  /** Update the route from the address. */
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

/** The address of a session or of a message in it; of a new session if `sessionId` is null. */
export function sessionHref(sessionId: string | null, messageId?: string | null): string {
  if (sessionId === null) return '#/';
  const query = messageId ? `?message=${encodeURIComponent(messageId)}` : '';
  return `#/${encodeURIComponent(sessionId)}${query}`;
}

/** Show a session or a message in it; a new session if `sessionId` is null. */
export function navigate(sessionId: string | null, messageId?: string | null): void {
  location.hash = sessionHref(sessionId, messageId);
  // `hashchange` fires only after the code that runs next.
  route.read();
}
