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
  sidebar: {
    archive: 'Archiv',
    archived: 'Archivierte Unterhaltungen',
    back: 'Zurück zu den Unterhaltungen',
    close: 'Liste schließen',
    conversations: 'Unterhaltungen',
    exportAll: 'Alles exportieren',
    files: 'Dateien zum Importieren',
    help: 'Hilfe',
    import: 'Importieren…',
    more: 'Mehr',
    open: 'Liste öffnen',
    search: 'Suchen',
    theme: 'Farben',
    themes: { system: 'System', light: 'Hell', dark: 'Dunkel' },
    usage: 'Verbrauch',
  },
  list: {
    answering: 'Antwortet gerade',
    empty: 'Hier erscheinen die Unterhaltungen.',
    emptyArchive: 'Das Archiv ist leer.',
    failed: 'Die Liste ist nicht lesbar.',
    pinned: 'Angeheftet',
    title: 'Titel',
  },
  dates: {
    today: 'Heute',
    yesterday: 'Gestern',
    week: 'Letzte 7 Tage',
    month: 'Letzte 30 Tage',
    older: 'Älter',
  },
  menu: {
    archive: 'Archivieren',
    delete: 'Löschen',
    exportJson: 'Als JSON exportieren',
    exportMarkdown: 'Als Markdown exportieren',
    options: (title: string) => `Optionen für ${title}`,
    pin: 'Anheften',
    rename: 'Umbenennen',
    settings: 'Einstellungen',
    select: 'Auswählen',
    unarchive: 'Aus dem Archiv holen',
    unpin: 'Nicht mehr anheften',
  },
  selection: {
    archive: 'Archivieren',
    count: (many: number) => `${count(many)} ausgewählt`,
    delete: 'Löschen',
    export: 'Exportieren',
    exportLimit: (most: number) => `Auf einmal lassen sich bis zu ${count(most)} exportieren.`,
    label: 'Ausgewählte Unterhaltungen',
    unarchive: 'Zurückholen',
  },
  toasts: {
    archived: (many: number) =>
      many === 1 ? 'Archiviert.' : `${count(many)} Unterhaltungen archiviert.`,
    deleted: (title: string) => `„${title}“ gelöscht.`,
    deletedMany: (many: number) => `${count(many)} Unterhaltungen gelöscht.`,
    dismiss: 'Ausblenden',
    notDeleted: (reason: string) => `Nicht gelöscht. ${reason}`,
    unarchived: (many: number) =>
      many === 1
        ? 'Aus dem Archiv geholt.'
        : `${count(many)} Unterhaltungen aus dem Archiv geholt.`,
    untitled: 'Unterhaltung',
  },
  branches: {
    label: 'Fassungen',
    next: 'Nächste Fassung',
    previous: 'Vorherige Fassung',
  },
  figures: {
    seconds: (seconds: string) => `${seconds} s`,
    speed: (tokens: string) => `${tokens} Token/s`,
    tokens: (read: string, written: string) => `${read} gelesen, ${written} geschrieben`,
  },
  keys: {
    control: 'Strg',
    delete: 'Entf',
    end: 'Ende',
    enter: 'Eingabe',
    escape: 'Esc',
    home: 'Pos1',
    shift: 'Umschalt',
  },
  help: {
    title: 'Hilfe',
    deleteSession: 'Unterhaltung in der Liste löschen',
    field: 'Zum Nachrichtenfeld gehen',
    help: 'Diese Hilfe',
    list: 'Liste der Unterhaltungen öffnen oder schließen',
    move: 'In der Liste der Unterhaltungen bewegen',
    newLine: 'Neue Zeile beginnen',
    rename: 'Unterhaltung in der Liste umbenennen',
    select: 'Mehrere Unterhaltungen in der Liste auswählen',
    search: 'Suchen',
    send: 'Nachricht senden',
    stop: 'Antwort anhalten oder schließen, was offen ist',
    safety:
      'Jede Nachricht wird auf dem Server gespeichert, bevor das Modell sie bekommt. Eine Antwort ' +
      'läuft weiter, wenn die Seite geschlossen wird, und ist beim nächsten Öffnen da. Eine Nachricht ' +
      'zu bearbeiten oder neu beantworten zu lassen legt eine Fassung an; nichts wird überschrieben.',
    files:
      'Dateien mit Unterhaltungen lassen sich überall auf der Seite ablegen: Exporte von Chatkeep, ' +
      'die `conversations.json` von ChatGPT, Exporte von Open WebUI.',
  },
};
