/** Titles as they are shown. */

/** Characters that change the direction of the text around them (Unicode Standard Annex #9). */
const DIRECTIONS = /[\u202A-\u202E\u2066-\u2069]/g;

/** A title without the characters that could hide parts of it or reverse the text beside it. */
export function displayTitle(title: string): string {
  return title.replace(DIRECTIONS, '');
}
