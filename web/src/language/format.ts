/** Numbers in the reader's own format. */

export function formatNumber(value: number): string {
  return value.toLocaleString();
}
