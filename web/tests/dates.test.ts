import { expect, test } from 'vitest';
import { countSince, dateGroups, dateTime, dayKey, dayName } from '../src/state/dates';

// Local times: the page shows the reader's own days.
const NOW = new Date(2026, 2, 31, 14, 30);
const at = (...parts: [number, number, number, number?, number?]) =>
  new Date(...parts).toISOString();

/** The label of the group of a session that was used at a time. */
function group(time: string): string | undefined {
  return dateGroups(NOW).find(({ since }) => time >= since)?.label;
}

test.each([
  [at(2026, 2, 31, 0, 0), 'Today'],
  [at(2026, 2, 30, 23, 59), 'Yesterday'],
  [at(2026, 2, 30, 0, 0), 'Yesterday'],
  [at(2026, 2, 29, 23, 59), 'Previous 7 days'],
  [at(2026, 2, 24, 0, 0), 'Previous 7 days'],
  [at(2026, 2, 23, 23, 59), 'Previous 30 days'],
  [at(2026, 2, 1, 0, 0), 'Previous 30 days'],
  [at(2020, 0, 1), 'Older'],
])('a session of %s is listed under %s', (time, label) => {
  expect(group(time)).toBe(label);
});

test('older sessions are listed by months', () => {
  const month = new Intl.DateTimeFormat(undefined, { month: 'long', year: 'numeric' });

  expect(group(at(2026, 1, 28, 23, 59))).toBe(month.format(new Date(2026, 1, 1)));
  expect(group(at(2025, 11, 24))).toBe(month.format(new Date(2025, 11, 1)));
});

test('the groups follow each other without a gap, the newest first', () => {
  const borders = dateGroups(NOW).map(({ since }) => since);

  expect(borders).toEqual(borders.toSorted().reverse());
  expect(new Set(borders).size).toBe(borders.length);
});

test('the items of a group are counted in a sorted list', () => {
  const items = [5, 4, 4, 2].map((hour) => ({ updated_at: `2026-03-31T0${hour}` }));

  expect([5, 4, 3, 2].map((hour) => countSince(items, `2026-03-31T0${hour}`))).toEqual([
    1, 3, 3, 4,
  ]);
  expect(countSince([], '2026')).toBe(0);
});

test('the time of today has no date, and that of another year has its year', () => {
  expect(dateTime(at(2026, 2, 31, 9, 5), NOW)).not.toMatch(/31|2026/);
  expect(dateTime(at(2026, 2, 30, 9, 5), NOW)).toMatch(/30/);
  expect(dateTime(at(2026, 2, 30, 9, 5), NOW)).not.toMatch(/2026/);
  expect(dateTime(at(2025, 2, 30, 9, 5), NOW)).toMatch(/2025/);
});

test('a day is named by what the reader calls it', () => {
  expect(dayName(at(2026, 2, 31, 0, 0), NOW)).toBe('Today');
  expect(dayName(at(2026, 2, 30, 23, 59), NOW)).toBe('Yesterday');
  expect(dayName(at(2026, 2, 29), NOW)).not.toMatch(/2026/);
  expect(dayName(at(2025, 2, 31), NOW)).toMatch(/2025/);
});

test('two times are of one day if the reader was in the same day', () => {
  expect(dayKey(at(2026, 2, 31, 0, 0))).toBe(dayKey(at(2026, 2, 31, 23, 59)));
  expect(dayKey(at(2026, 2, 31, 0, 0))).not.toBe(dayKey(at(2026, 2, 30, 23, 59)));
});
