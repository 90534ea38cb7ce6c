import { beforeEach, expect, test } from 'vitest';
import { selection } from '../src/state/selection.svelte';

const ORDER = ['a', 'b', 'c', 'd', 'e'];
const selected = () => [...selection.ids].toSorted().join('');

beforeEach(() => selection.end());

test('a selection starts with one session, and others are added and removed', () => {
  selection.start('b');
  selection.toggle('d');
  selection.toggle('b');

  expect([selection.active, selected()]).toEqual([true, 'd']);
});

test('a range goes from the last selected session to another one, in both directions', () => {
  selection.start('c');
  selection.extend(ORDER, 'e');
  expect(selected()).toBe('cde');

  selection.toggle('c');
  selection.extend(ORDER, 'a');
  expect(selected()).toBe('abcde');
});

test('a range from a session that is not listed any more ends at the one that was clicked', () => {
  selection.start('gone');
  selection.restrictTo(ORDER);
  selection.extend(ORDER, 'b');

  expect(selected()).toBe('ab');
});

test('sessions that leave the list leave the selection', () => {
  selection.start('a');
  selection.extend(ORDER, 'c');
  selection.restrictTo(['b', 'c', 'd']);

  expect(selected()).toBe('bc');
});

test('the end of a selection deselects everything', () => {
  selection.start('a');
  selection.end();

  expect([selection.active, selected()]).toEqual([false, '']);
});
