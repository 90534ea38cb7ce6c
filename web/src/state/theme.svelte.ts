/** Light or dark: what the system says, or what was chosen here. */

export type Choice = 'system' | 'light' | 'dark';

const KEY = 'chatkeep.theme';

class Theme {
  choice = $state<Choice>(read());

  constructor() {
    colourBrowser(this.choice);
  }

  set(choice: Choice): void {
    this.choice = choice;
    if (choice === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    colourBrowser(choice);
    try {
      if (choice === 'system') localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
  }
}

function read(): Choice {
  const set = document.documentElement.dataset.theme;
  return set === 'light' || set === 'dark' ? set : 'system';
}

/** The browser's own bars have the page's colour: of the two in the document, the one that holds. */
function colourBrowser(choice: Choice): void {
  const metas = document.querySelectorAll<HTMLMetaElement>('meta[name=theme-color]');
  for (const [at, scheme] of (['light', 'dark'] as const).entries()) {
    const meta = metas[at];
    if (meta === undefined) continue;
    if (choice === 'system') meta.media = `(prefers-color-scheme: ${scheme})`;
    else meta.media = choice === scheme ? 'all' : 'not all';
  }
}

export const theme = new Theme();
