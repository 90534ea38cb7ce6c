/** The page in English, section by section as its parts are named. Other languages follow its shape. */

import { count } from './format';

export const en = {
  common: {
    cancel: 'Cancel',
    close: 'Close',
    copied: 'Copied',
    copyBlocked: 'Copying is blocked here (it needs HTTPS or localhost).',
    newChat: 'New chat',
    save: 'Save',
    tryAgain: 'Try again',
    undo: 'Undo',
    unreachable: 'The server cannot be reached.',
    conversations: (many: number) => `${count(many)} conversation${many === 1 ? '' : 's'}`,
    messages: (many: number) => `${count(many)} message${many === 1 ? '' : 's'}`,
  },
  sidebar: {
    archive: 'Archive',
    archived: 'Archived conversations',
    back: 'Back to the conversations',
    close: 'Close the list',
    conversations: 'Conversations',
    exportAll: 'Export all',
    files: 'Files to import',
    help: 'Help',
    import: 'Import…',
    more: 'More',
    open: 'Open the list',
    search: 'Search',
    theme: 'Theme',
    themes: { system: 'System', light: 'Light', dark: 'Dark' },
    usage: 'Usage',
  },
  list: {
    answering: 'Answering',
    empty: 'Your conversations will be listed here.',
    emptyArchive: 'The archive is empty.',
    failed: 'The list cannot be read.',
    pinned: 'Pinned',
    title: 'Title',
  },
  dates: {
    today: 'Today',
    yesterday: 'Yesterday',
    week: 'Previous 7 days',
    month: 'Previous 30 days',
    older: 'Older',
  },
  menu: {
    archive: 'Archive',
    delete: 'Delete',
    exportJson: 'Export as JSON',
    exportMarkdown: 'Export as Markdown',
    options: (title: string) => `Options for ${title}`,
    pin: 'Pin',
    rename: 'Rename',
    settings: 'Settings',
    select: 'Select',
    unarchive: 'Unarchive',
    unpin: 'Unpin',
  },
  selection: {
    archive: 'Archive',
    count: (many: number) => `${count(many)} selected`,
    delete: 'Delete',
    export: 'Export',
    exportLimit: (most: number) => `Up to ${count(most)} can be exported at a time.`,
    label: 'Selected conversations',
    unarchive: 'Unarchive',
  },
  toasts: {
    archived: (many: number) =>
      many === 1 ? 'Archived.' : `Archived ${count(many)} conversations.`,
    deleted: (title: string) => `Deleted “${title}”.`,
    deletedMany: (many: number) => `Deleted ${count(many)} conversations.`,
    dismiss: 'Dismiss',
    notDeleted: (reason: string) => `Not deleted. ${reason}`,
    unarchived: (many: number) =>
      many === 1 ? 'Unarchived.' : `Unarchived ${count(many)} conversations.`,
    untitled: 'the conversation',
  },
  branches: {
    label: 'Branches',
    next: 'Next branch',
    previous: 'Previous branch',
  },
  figures: {
    seconds: (seconds: string) => `${seconds} s`,
    speed: (tokens: string) => `${tokens} tok/s`,
    tokens: (read: string, written: string) => `${read} in, ${written} out`,
  },
  keys: {
    control: 'Ctrl',
    delete: 'Delete',
    end: 'End',
    enter: 'Enter',
    escape: 'Esc',
    home: 'Home',
    shift: 'Shift',
  },
  help: {
    title: 'Help',
    deleteSession: 'Delete the conversation in the list',
    field: 'Go to the message field',
    help: 'This help',
    list: 'Open or close the list of conversations',
    move: 'Move in the list of conversations',
    newLine: 'Begin a new line',
    rename: 'Rename the conversation in the list',
    select: 'Select several conversations in the list',
    search: 'Search',
    send: 'Send the message',
    stop: 'Stop the answer, or close what is open',
    safety:
      'Every message is kept on the server before the model is asked. An answer goes on when you ' +
      'close the page, and is there when you come back. Editing a message or asking for another ' +
      'answer makes a branch; nothing is overwritten.',
    files:
      "Drop a file anywhere to import conversations: Chatkeep's own exports, ChatGPT's " +
      "`conversations.json`, Open WebUI's.",
  },
};
