/** Light or dark: what the system says, or what was chosen here. */

export type Choice = 'system' | 'light' | 'dark';

const KEY = 'chatkeep.theme';

class Theme {
  choice = $state<Choice>(read());

  set(choice: Choice): void {
    this.choice = choice;
    if (choice === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = choice;
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

export const theme = new Theme();
