/** Dates and times as the page shows them, in the reader's time zone and format. */

import { t } from '../language';

const DAY_MS = 86_400_000;
const MONTHS = 24;

const timeFormat = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const dayThisYear = new Intl.DateTimeFormat(undefined, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
});
const dayAnyYear = new Intl.DateTimeFormat(undefined, { dateStyle: 'long' });

export interface DateGroup {
  label: string;
  /** The earliest time in the group, in ISO 8601; empty for the last group. */
  since: string;
}

/** The groups of a list that is sorted by time, newest first, as seen at `now`. */
export function dateGroups(now: Date): DateGroup[] {
  const today = new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime();
  const daysAgo = (days: number) => {
    // From noon to noon: days are up to 25 hours long.
    const day = new Date(today - days * DAY_MS + DAY_MS / 2);
    return new Date(day.getFullYear(), day.getMonth(), day.getDate()).toISOString();
  };
  const recent = [
    { label: t.dates.today, since: daysAgo(0) },
    { label: t.dates.yesterday, since: daysAgo(1) },
    { label: t.dates.week, since: daysAgo(7) },
    { label: t.dates.month, since: daysAgo(30) },
  ];
  const months: DateGroup[] = [];
  const monthFormat = new Intl.DateTimeFormat(undefined, { month: 'long', year: 'numeric' });
  for (let back = 0; back < MONTHS; back += 1) {
    const first = new Date(now.getFullYear(), now.getMonth() - back, 1);
    if (first.toISOString() >= daysAgo(30)) continue;
    months.push({ label: monthFormat.format(first), since: first.toISOString() });
  }
  return [...recent, ...months, { label: t.dates.older, since: '' }];
}

/** How many of the items, sorted by time with the newest first, are not older than `since`. */
export function countSince(items: readonly { updated_at: string }[], since: string): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((items[middle]?.updated_at ?? '') >= since) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A date and time: without the date if it is today, without the year if it is this year. */
export function dateTime(time: string, now = new Date()): string {
  const date = new Date(time);
  const clock: Intl.DateTimeFormatOptions = { hour: 'numeric', minute: '2-digit' };
  if (date.toDateString() === now.toDateString()) return date.toLocaleTimeString(undefined, clock);
  const day: Intl.DateTimeFormatOptions = { month: 'short', day: 'numeric', ...clock };
  if (date.getFullYear() !== now.getFullYear()) day.year = 'numeric';
  return date.toLocaleString(undefined, day);
}

/** Identifies the day of a time: it is equal for two times of the same day. */
export function dayKey(time: string): string {
  return new Date(time).toDateString();
}

/** A day as a heading: `Today`, `Yesterday`, `Monday, March 2`, `March 2, 2025`. */
export function dayName(time: string, now = new Date()): string {
  const date = new Date(time);
  if (date.toDateString() === now.toDateString()) return t.dates.today;
  const yesterday =
    new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime() - DAY_MS / 2;
  if (date.toDateString() === new Date(yesterday).toDateString()) return t.dates.yesterday;
  return (date.getFullYear() === now.getFullYear() ? dayThisYear : dayAnyYear).format(date);
}

export function timeOfDay(time: string): string {
  return timeFormat.format(new Date(time));
}
