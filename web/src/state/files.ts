/** Files of the user: text files for a message, archives with conversations. */

import { t } from '../language';

/** The length of a message that the server accepts by default. */
const MAX_CHARACTERS = 100_000;
/** A character has at most four bytes in UTF-8. */
const MAX_BYTES = 4 * MAX_CHARACTERS;

/** Why a file cannot be used; the message is a text for users. */
export class UnusableFile extends Error {}

/** A text file as a part of a message: its name, then a block of code. Throws `UnusableFile`. */
export async function fileAsBlock(file: File): Promise<string> {
  if (file.size > MAX_BYTES) throw new UnusableFile(t.files.tooLarge(file.name, MAX_CHARACTERS));
  const text = decode(await file.arrayBuffer());
  if (text === null) throw new UnusableFile(t.files.notText(file.name));
  const language = /\.([\w+#-]{1,20})$/.exec(file.name)?.[1]?.toLowerCase() ?? '';
  // A fence that is longer than any in the text (CommonMark 0.31, 4.5).
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  const block = `${file.name}\n${fence}${language}\n${text.trimEnd()}\n${fence}\n`;
  if (block.length > MAX_CHARACTERS) {
    throw new UnusableFile(t.files.tooLarge(file.name, MAX_CHARACTERS));
  }
  return block;
}

/** The text in bytes of UTF-8; null if they are not text. */
function decode(bytes: ArrayBuffer): string | null {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\0') ? null : text;
  } catch {
    return null;
  }
}

/** The `conversations.json` in an archive, such as ChatGPT's export. Throws `UnusableFile`. */
export async function conversationsInArchive(archive: File): Promise<Blob> {
  const { BlobReader, BlobWriter, ZipReader } = await import('@zip.js/zip.js/index-native.js');
  // Reads only what it needs: an archive may hold gigabytes of images.
  const zip = new ZipReader(new BlobReader(archive), { useWebWorkers: false });
  try {
    for (const entry of await zip.getEntries()) {
      if (entry.directory || !/(?:^|\/)conversations\.json$/.test(entry.filename)) continue;
      return await entry.getData(new BlobWriter('application/json'));
    }
  } catch {
    throw new UnusableFile(t.files.unreadableArchive);
  } finally {
    await zip.close().catch(() => {});
  }
  throw new UnusableFile(t.files.noConversations);
}
