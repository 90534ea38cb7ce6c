/** Who the page is signed in as, and what that person may do. */

import { api, BASE, Problem, type Me } from '../api/client';
import { request, whenUnauthorized } from '../api/request';

/** Tabs of the same browser share a cookie: what one tab does with it, the others do too. */
const CHANNEL = 'chatkeep.access';

/** Whose words the tab has stored that are not sent yet. */
const PERSON = 'chatkeep.person';

class Access {
  /** Who the caller is; null until the server has said so. */
  me = $state.raw<Me | null>(null);
  /** Whether the server wants a key, or another one. */
  needsKey = $state(false);
  readonly #otherTabs = new BroadcastChannel(CHANNEL);

  /** Whether conversations can be changed, and not only read. */
  readonly canWrite = $derived(this.me?.scope !== 'read');
  /** Whether prompts and their like can be seen and set. */
  readonly canConfigure = $derived(this.me?.scope !== 'user');
  /** Whether files of conversations can be imported. */
  readonly canImport = $derived(this.canWrite && this.canConfigure);

  /** Ask who the caller is, and watch for refusals. Call it once, before the page is mounted. */
  start(): void {
    whenUnauthorized(() => (this.needsKey = true));
    this.#otherTabs.onmessage = ({ data }: MessageEvent<string>) => {
      forgetWordsOf(data);
      location.reload();
    };
    // The browser may show a page of before: whoever has signed out must not see it again.
    addEventListener('pageshow', (event) => {
      if (event.persisted && this.me?.is_signed_in) location.reload();
    });
    api.GET('/me').then(
      ({ data }) => {
        this.me = data ?? null;
        if (data !== undefined) store(PERSON, personOf(data));
      },
      () => {},
    );
  }

  /**
   * Exchange a key for a cookie, and read the page again as whom it lets in.
   *
   * @throws `Problem` if the key is refused.
   */
  async signIn(key: string): Promise<void> {
    const response = await fetch(`${BASE}/login`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ key }),
    });
    if (!response.ok) {
      throw Problem.from(await response.json().catch(() => null), response.status);
    }
    this.#reload(personOf((await response.json()) as Me));
  }

  /**
   * End the cookie, and forget what was written and not sent.
   *
   * @param finish - Sends what the person has decided, and could still undo.
   */
  async signOut(finish: () => Promise<unknown>): Promise<void> {
    await finish();
    const response = await request(`${BASE}/logout`, { method: 'POST' });
    if (!response.ok) {
      throw Problem.from(await response.json().catch(() => null), response.status);
    }
    this.#reload('');
  }

  /** Read every tab's page again, as the person who is signed in now. */
  #reload(person: string): void {
    forgetWordsOf(person);
    this.#otherTabs.postMessage(person);
    location.reload();
  }
}

function personOf({ tenant, user }: Me): string {
  return `${tenant ?? ''}/${user ?? ''}`;
}

/** Forget what the tab has stored, unless it is this person's: nobody sends another's words. */
function forgetWordsOf(person: string): void {
  if (sessionStorage.getItem(PERSON) !== person) sessionStorage.clear();
}

function store(name: string, value: string): void {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // Without storage there are no words of anybody in it either.
  }
}

export const access = new Access();
