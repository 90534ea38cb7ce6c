import { expect, test } from 'vitest';
import { Blocks } from '../src/markdown/blocks.svelte';
import { complete } from '../src/markdown/complete';
import type { Node } from '../src/markdown/nodes';
import { plainText } from '../src/markdown/plainText';

function shown(blocks: Blocks): { cells: Node[]; notes: Node[] } {
  return {
    cells: blocks.cells.map(({ node }) => node),
    notes: blocks.notes.map(({ node }) => node),
  };
}

function whole(text: string) {
  const blocks = new Blocks();
  blocks.update(text, false);
  return shown(blocks);
}

const TEXT = `# Title

A paragraph with **bold**, [a link][ref] and a note[^1].\r\nNext line.

- one
- two
  - nested

1. first
2. second

> [!WARNING]
> Careful.

| a | b |
|---|---|
| 1 | 2 |

\`\`\`python
print("hi")

print("bye")
\`\`\`

<details><summary>More</summary>

Hidden *text*.

</details>

$$
x^2
$$

[ref]: https://example.org
[^1]: The note.
`;

test.each([1, 2, 3, 7, 40])(
  'a text that arrives in pieces of %i characters ends as one that arrives at once',
  (size) => {
    const blocks = new Blocks();
    for (let end = size; end < TEXT.length; end += size) blocks.update(TEXT.slice(0, end), true);
    blocks.update(TEXT, false);

    expect(shown(blocks)).toEqual(whole(TEXT));
  },
);

test('blocks that are complete do not change while the text grows', () => {
  const blocks = new Blocks();
  blocks.update('One.\n\nTwo.\n\nThree', true);
  const [first, second] = blocks.cells;
  const nodes = [first?.node, second?.node];

  blocks.update('One.\n\nTwo.\n\nThree.\n\nFour', true);

  expect([blocks.cells[0], blocks.cells[1]]).toEqual([first, second]);
  expect(blocks.cells[0]?.node).toBe(nodes[0]);
  expect(blocks.cells[1]?.node).toBe(nodes[1]);
});

test('a text that is replaced by another one is shown anew', () => {
  const blocks = new Blocks();
  blocks.update('Some long answer.\n\nAnd more.', true);
  blocks.update('Other', false);

  expect(shown(blocks)).toEqual(whole('Other'));
});

test.each([
  ['Some **bold', 'Some **bold**'],
  ['Some *it', 'Some *it*'],
  ['A `code', 'A `code`'],
  ['Closing **', 'Closing'],
  ['A [link](https://exa', 'A link'],
  ['An ![image](ht', 'An image'],
  ['Text\n-', 'Text'],
  ['| a | b |\n|--', '| a | b |\n|---|---|'],
  ['More <deta', 'More'],
  ['1 < 2', '1 < 2'],
  ['```js\nlet a = `', '```js\nlet a = `'],
  ['Half \\(x + y', 'Half `` \\(x + y ``'],
  ['First **one**\n\nthen *two', 'First **one**\n\nthen *two*'],
])('the unfinished text %j is shown as %j', (text, expected) => {
  expect(complete(text)).toBe(expected);
});

test.each([
  ['# Title\n\nSome **bold** text.', 'Title. Some bold text.'],
  ['- one\n- two', 'one. two.'],
  ['```python\nprint(1)\n```', 'Code in python.'],
  ['A [link](https://example.org) and ![a cat](x.png)', 'A link and Image: a cat'],
  ['| a | b |\n|---|---|\n| 1 | 2 |', 'a, b. 1, 2.'],
  ['> [!NOTE]\n> Read this.', 'Note: Read this.'],
  ['Fish &amp; chips &#39;now&#39;', "Fish & chips 'now'"],
  ['Energy is $E = mc^2$.', 'Energy is E = mc^2.'],
])('a screen reader reads %j as %j', (markdown, text) => {
  expect(plainText(markdown)).toBe(text);
});
