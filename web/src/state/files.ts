/** Files that somebody brings: text for a message, archives with conversations. */

import { t } from '../language';

/** Characters of a message, as the server takes them by default. */
export const MOST_CHARACTERS = 100_000;
/** UTF-8 has at most four bytes to a character. */
const MOST_BYTES = 4 * MOST_CHARACTERS;

/** Why a file cannot be used, in words for whoever brought it. */
export class Unusable extends Error {}

/** A text file as a part of a message: its name, and a block of code. Throws `Unusable`. */
export async function asBlock(file: File): Promise<string> {
  if (file.size > MOST_BYTES) throw new Unusable(t.files.tooLarge(file.name, MOST_CHARACTERS));
  const text = decode(await file.arrayBuffer());
  if (text === null) throw new Unusable(t.files.notText(file.name));
  const language = /\.([\w+#-]{1,20})$/.exec(file.name)?.[1]?.toLowerCase() ?? '';
  // A fence that is longer than any in the text (CommonMark 0.31, 4.5).
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  const block = `${file.name}\n${fence}${language}\n${text.trimEnd()}\n${fence}\n`;
  if (block.length > MOST_CHARACTERS) {
    throw new Unusable(t.files.tooLarge(file.name, MOST_CHARACTERS));
  }
  return block;
}

/** The text of bytes that are text. */
function decode(bytes: ArrayBuffer): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}

/** The conversations in an archive, such as the one that ChatGPT sends. Throws `Unusable`. */
export async function conversationsIn(archive: File): Promise<Blob> {
  const { BlobReader, BlobWriter, ZipReader } = await import('@zip.js/zip.js/index-native.js');
  // Only what is needed is read of an archive that may hold gigabytes of pictures.
  const zip = new ZipReader(new BlobReader(archive), { useWebWorkers: false });
  try {
    for (const entry of await zip.getEntries()) {
      if (entry.directory || !/(?:^|\/)conversations\.json$/.test(entry.filename)) continue;
      return await entry.getData(new BlobWriter('application/json'));
    }
  } catch {
    throw new Unusable(t.files.unreadableArchive);
  } finally {
    await zip.close().catch(() => {});
  }
  throw new Unusable(t.files.noConversations);
}
