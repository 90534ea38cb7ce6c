/**
 * The texts of the page, in the browser's language. A language is one file beside this one. English is
 * a part of the page; another language is loaded before the page is rendered.
 */

import { en } from './en';

export type Words = typeof en;

const others: Readonly<Record<string, () => Promise<Words>>> = {
  de: () => import('./de').then(({ de }) => de),
};

/** The texts. Use them only when rendering: while modules are loaded, the language is not chosen yet. */
export let t: Words = en;

/** Load the first of the preferred languages (BCP 47 tags) that the page has, else use English. */
export async function chooseLanguage(preferred: readonly string[]): Promise<void> {
  const known = (tag: string) => tag === 'en' || Object.hasOwn(others, tag);
  const language = preferred.map((tag) => tag.split('-')[0] ?? '').find(known) ?? 'en';
  const load = others[language];
  if (load) {
    try {
      t = await load();
    } catch {
      // The server cannot be reached: English remains.
      return;
    }
  }
  document.documentElement.lang = language;
}
