/**
 * What the page says, in the browser's language. A language is one file beside this one; English is
 * there from the start, another is loaded before the page is drawn.
 */

import { en } from './en';

export type Words = typeof en;

const others: Readonly<Record<string, () => Promise<Words>>> = {
  de: () => import('./de').then(({ de }) => de),
};

/** The page's words. Read it where it is shown, not when a module is loaded: that is too early. */
export let t: Words = en;

/** Take the first of the browser's languages that the page has; English if it has none of them. */
export async function chooseLanguage(preferred: readonly string[]): Promise<void> {
  const known = (tag: string) => tag === 'en' || tag in others;
  const language = preferred.map((tag) => tag.split('-')[0] ?? '').find(known) ?? 'en';
  const load = others[language];
  if (load) {
    try {
      t = await load();
    } catch {
      // The server is away: English is here.
      return;
    }
  }
  document.documentElement.lang = language;
}
