/** Keys as the reader's keyboard has them. */

import { t } from '../language';

/** The key of commands: on a Mac it is another. */
export function commandKey(): string {
  return /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘' : t.keys.control;
}
