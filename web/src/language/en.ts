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
  markdown: {
    alerts: {
      note: 'Note',
      tip: 'Tip',
      important: 'Important',
      warning: 'Warning',
      caution: 'Caution',
    },
    backToText: 'Back to the text',
    code: 'Code',
    codeIn: (language: string) => `Code in ${language}`,
    copy: 'Copy',
    copyCode: 'Copy code',
    copyFailed: 'Copying failed',
    done: 'Done',
    footnote: (number: string) => `Footnote ${number}`,
    footnotes: 'Footnotes',
    image: '(image)',
    imageOf: (name: string) => `Image: ${name}`,
    table: 'Table',
    toDo: 'To do',
  },
};
