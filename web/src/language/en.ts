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
};
