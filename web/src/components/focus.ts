/** Where the focus goes when what had it goes away. */

/** The field in which a message is written, else the page's main part. */
export function focusField(): void {
  (document.getElementById('message') ?? document.getElementById('main'))?.focus();
}

/** After a button that its own click takes away: whoever used keys goes on at the field. */
export function leaveButton({ detail: clicks }: MouseEvent): void {
  if (clicks === 0) focusField();
}
