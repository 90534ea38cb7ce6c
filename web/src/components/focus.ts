/** Moves the focus when the element that has it is removed. */

/** Focus the field for a new message, or the main part of the page if there is no field. */
export function focusField(): void {
  (document.getElementById('message') ?? document.getElementById('main'))?.focus();
}

/** Focus the field after a click that removes its button, if the click came from the keyboard. */
export function focusFieldAfterKey({ detail: clicks }: MouseEvent): void {
  if (clicks === 0) focusField();
}
