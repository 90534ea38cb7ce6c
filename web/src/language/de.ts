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
  markdown: {
    alerts: {
      note: 'Hinweis',
      tip: 'Tipp',
      important: 'Wichtig',
      warning: 'Warnung',
      caution: 'Vorsicht',
    },
    backToText: 'Zurück zum Text',
    code: 'Code',
    codeIn: (language: string) => `Code in ${language}`,
    copy: 'Kopieren',
    copyCode: 'Code kopieren',
    copyFailed: 'Kopieren fehlgeschlagen',
    done: 'Erledigt',
    footnote: (number: string) => `Fußnote ${number}`,
    footnotes: 'Fußnoten',
    image: '(Bild)',
    imageOf: (name: string) => `Bild: ${name}`,
    table: 'Tabelle',
    toDo: 'Zu erledigen',
  },
};
