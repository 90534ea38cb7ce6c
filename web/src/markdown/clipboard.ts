/** Copies text to the clipboard, on insecure origins too. */

/** Copy a text. Returns whether it worked. Call it in a click's handler, before anything is awaited. */
export async function copyText(text: string): Promise<boolean> {
  // Undefined on plain HTTP, such as http://192.168.0.2, although its type excludes that.
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
  // Focus cannot leave an open dialog.
  const container = focused?.closest('dialog, [role="dialog"]') ?? document.body;
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'md-hidden';
  area.readOnly = true;
  area.setAttribute('aria-hidden', 'true');
  container.append(area);
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
