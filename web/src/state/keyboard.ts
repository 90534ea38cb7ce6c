/** Names of keys on the user's keyboard. */

import { t } from '../language';

/** The key of shortcuts: Command on Apple's devices, elsewhere Control. */
export function commandKey(): string {
  return /Mac|iPhone|iPad/.test(navigator.platform) ? '⌘' : t.keys.control;
}
