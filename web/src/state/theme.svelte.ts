/** The theme: the system's, or the one that the user has chosen. */

export type Choice = 'system' | 'light' | 'dark';

const STORAGE_KEY = 'chatkeep.theme';

class Theme {
  choice = $state<Choice>(readChoice());

  constructor() {
    colourBrowser(this.choice);
  }

  set(choice: Choice): void {
    this.choice = choice;
    if (choice === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
    colourBrowser(choice);
    try {
      if (choice === 'system') localStorage.removeItem(STORAGE_KEY);
      else localStorage.setItem(STORAGE_KEY, choice);
    } catch {
      // Without storage the choice lasts until the page is closed.
    }
  }
}

function readChoice(): Choice {
  const { theme } = document.documentElement.dataset;
  return theme === 'light' || theme === 'dark' ? theme : 'system';
}

/** Give the browser's own bars the colour of the theme, with one of the two `<meta>` elements. */
function colourBrowser(choice: Choice): void {
  const metas = document.querySelectorAll<HTMLMetaElement>('meta[name=theme-color]');
  for (const [index, scheme] of (['light', 'dark'] as const).entries()) {
    const meta = metas[index];
    if (meta === undefined) continue;
    if (choice === 'system') meta.media = `(prefers-color-scheme: ${scheme})`;
    else meta.media = choice === scheme ? 'all' : 'not all';
  }
}

export const theme = new Theme();
