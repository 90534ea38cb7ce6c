/** Titles as they are shown. */

/** Marks that turn the direction of the text around them (Unicode Standard Annex #9). */
const DIRECTIONS = /[\u202A-\u202E\u2066-\u2069]/g;

/** A title without marks that would hide a part of it, or turn what stands beside it around. */
export function displayTitle(title: string): string {
  return title.replace(DIRECTIONS, '');
}
