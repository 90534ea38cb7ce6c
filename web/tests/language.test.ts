import { expect, test } from 'vitest';
import { Problem } from '../src/api/client';
import { chooseLanguage, t } from '../src/language';
import { problemTitle } from '../src/state/problems';

test('the page is in English if it has none of the languages of the reader', async () => {
  await chooseLanguage(['fr', 'toString']);

  expect([t.common.cancel, document.documentElement.lang]).toEqual(['Cancel', 'en']);
});

test('the page takes the first language of the reader that it has', async () => {
  await chooseLanguage(['fr', 'de-AT', 'en']);

  expect([t.common.cancel, document.documentElement.lang]).toEqual(['Abbrechen', 'de']);
});

test('titles of problems are in the language of the page, where it has them', async () => {
  await chooseLanguage(['de']);
  const title = (code: string) =>
    problemTitle(new Problem(400, 'Title of the server', '', `/problems/${code}`));

  expect(title('context-too-long')).not.toBe('Title of the server');
  expect(title('new-code')).toBe('Title of the server');
});
