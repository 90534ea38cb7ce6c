/** Numbers in the reader's own format. */

export function count(value: number): string {
  return value.toLocaleString();
}
