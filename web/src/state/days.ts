/** Days and times of messages, in the reader's own format. */

import { t } from '../language';

const DAY_MS = 86_400_000;
const clockFormat = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const thisYear = new Intl.DateTimeFormat(undefined, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
});
const anyYear = new Intl.DateTimeFormat(undefined, { dateStyle: 'long' });

/** Two moments are of the same day where the reader is if this is the same. */
export function day(time: string): string {
  return new Date(time).toDateString();
}

/** A day as a heading: `Today`, `Yesterday`, `Monday, March 2`, `March 2, 2025`. */
export function dayName(time: string, now = new Date()): string {
  const moment = new Date(time);
  if (moment.toDateString() === now.toDateString()) return t.dates.today;
  const yesterday =
    new Date(now.getFullYear(), now.getMonth(), now.getDate()).getTime() - DAY_MS / 2;
  if (moment.toDateString() === new Date(yesterday).toDateString()) return t.dates.yesterday;
  return (moment.getFullYear() === now.getFullYear() ? thisYear : anyYear).format(moment);
}

/** The time of day. */
export function clock(time: string): string {
  return clockFormat.format(new Date(time));
}
