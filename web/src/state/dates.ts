/** How long ago something was, in the words of a list. */

import { t } from '../language';

const DAY_MS = 86_400_000;

export interface Group {
  label: string;
  /** The first moment that belongs to it, as the server writes moments. */
  since: string;
}

/** The groups of a list that is sorted by time, newest first, as seen from `now`. */
export function groups(now: Date): Group[] {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const ago = (days: number) => {
    const day = new Date(today - days * DAY_MS + DAY_MS / 2);
    return new Date(day.getFullYear(), day.getMonth(), day.getDate()).toISOString();
  };
  const recent = [
    { label: t.dates.today, since: ago(0) },
    { label: t.dates.yesterday, since: ago(1) },
    { label: t.dates.week, since: ago(7) },
    { label: t.dates.month, since: ago(30) },
  ];
  const months: Group[] = [];
  const name = new Intl.DateTimeFormat(undefined, { month: 'long', year: 'numeric' });
  for (let back = 0; back < 24; back += 1) {
    const first = new Date(now.getFullYear(), now.getMonth() - back, 1);
    if (first.toISOString() >= ago(30)) continue;
    months.push({ label: name.format(first), since: first.toISOString() });
  }
  return [...recent, ...months, { label: t.dates.older, since: '' }];
}

/** How many of the sorted `items` are not older than `since`. */
export function countSince(items: readonly { updated_at: string }[], since: string): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((items[middle]?.updated_at ?? '') >= since) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A moment for people: today only the time, and this year without the year. */
export function when(time: string, now = new Date()): string {
  const date = new Date(time);
  const clock: Intl.DateTimeFormatOptions = { hour: 'numeric', minute: '2-digit' };
  if (date.toDateString() === now.toDateString()) return date.toLocaleTimeString(undefined, clock);
  const day: Intl.DateTimeFormatOptions = { month: 'short', day: 'numeric', ...clock };
  if (date.getFullYear() !== now.getFullYear()) day.year = 'numeric';
  return date.toLocaleString(undefined, day);
}
