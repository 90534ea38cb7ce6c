// Writes the hash of every source file beside the built page, so that a test can check without Node
// whether the page was built from the current sources.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const skipped = new Set(['node_modules']);

function files(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter(({ name }) => !skipped.has(name))
    .flatMap((entry) => {
      const path = folder ? `${folder}/${entry.name}` : entry.name;
      return entry.isDirectory() ? files(path) : [path];
    });
}

const lines = files('')
  .sort()
  .map(
    (path) =>
      `${createHash('sha256')
        .update(readFileSync(join(root, path)))
        .digest('hex')}  ${path}`,
  );
writeFileSync(join(root, '../src/chatkeep/page/SOURCES'), `${lines.join('\n')}\n`);
