/** Text to the clipboard, on insecure origins too. */

/** Promises to say whether `text` is in the clipboard now. Call it from a click, before any wait. */
export async function copyText(text: string): Promise<boolean> {
  // Missing on plain http, as on http://192.168.0.2, whatever the types say.
  const clipboard = navigator.clipboard as Clipboard | undefined;
  if (!clipboard) return copyBySelection(text);
  try {
    await clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const focused = document.activeElement;
  // Inside an open dialog: focus may not leave it.
  const home = focused?.closest('dialog, [role="dialog"]') ?? document.body;
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'md-hidden';
  area.readOnly = true;
  area.setAttribute('aria-hidden', 'true');
  home.append(area);
  area.select();
  try {
    return document.execCommand('copy');
  } catch {
    return false;
  } finally {
    area.remove();
    if (focused instanceof HTMLElement) focused.focus({ preventScroll: true });
  }
}
