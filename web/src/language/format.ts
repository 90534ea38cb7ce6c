/** Figures as the reader's own settings write them. */

export function count(value: number): string {
  return value.toLocaleString();
}
