/** The page in German. */

import type { Words } from '.';
import { count } from './format';

export const de: Words = {
  common: {
    cancel: 'Abbrechen',
    close: 'Schließen',
    copied: 'Kopiert',
    copyBlocked: 'Kopieren ist hier gesperrt (es braucht HTTPS oder localhost).',
    newChat: 'Neuer Chat',
    save: 'Speichern',
    tryAgain: 'Noch einmal versuchen',
    undo: 'Rückgängig',
    unreachable: 'Der Server ist nicht erreichbar.',
    conversations: (many: number) => `${count(many)} Unterhaltung${many === 1 ? '' : 'en'}`,
    messages: (many: number) => `${count(many)} Nachricht${many === 1 ? '' : 'en'}`,
  },
};
