/** Downloads a session as a file for people. */

import { api, pageCursor, unwrap, type Message } from '../api/client';
import type { AttachedFile, Part } from '../state/parts';
import { readFile } from '../state/pictures.svelte';
import { arrange, RowCache } from '../state/rows';
import { conversationAsHtml, type ExportedMessage } from './html';

const PAGE_SIZE = 500;
/** By then the browser has begun to write the file, and no longer needs its URL. */
const URL_LIFETIME_MS = 60_000;

/**
 * Download the active branch of a session as one HTML file. Throws `Problem`.
 *
 * @param sessionId - The session.
 * @param title - Its title, which is the file's heading and gives it its name.
 */
export async function downloadHtml(sessionId: string, title: string): Promise<void> {
  const history = await readHistory(sessionId);
  const rows = arrange(history, [], null, new RowCache());
  const messages: ExportedMessage[] = [];
  for (const { role, parts, createdAt, turn } of rows) {
    messages.push({
      role,
      parts: await withFiles(sessionId, parts),
      createdAt,
      model: role === 'assistant' ? (turn?.model ?? null) : null,
    });
  }
  const file = await conversationAsHtml({ title, messages, count: history.length });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = `${fileName(title)}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), URL_LIFETIME_MS);
}

/** The parts of a message with the bytes of its pictures and documents in their addresses. */
async function withFiles(sessionId: string, parts: readonly Part[]): Promise<Part[]> {
  const embedded: Part[] = [];
  for (const part of parts) {
    if (part.type === 'files') {
      embedded.push({ ...part, files: await embed(sessionId, part.files) });
    } else if (part.type === 'call' && part.result !== null) {
      const files = await embed(sessionId, part.result.files);
      embedded.push({ ...part, result: { ...part.result, files } });
    } else {
      embedded.push(part);
    }
  }
  return embedded;
}

async function embed(sessionId: string, files: readonly AttachedFile[]): Promise<AttachedFile[]> {
  const embedded: AttachedFile[] = [];
  for (const file of files) {
    const { fileId } = file;
    embedded.push(fileId === null ? file : { ...file, url: await readFile(sessionId, fileId) });
  }
  return embedded;
}

async function readHistory(sessionId: string): Promise<Message[]> {
  let messages: Message[] = [];
  for (let before: string | null | undefined; before !== null;) {
    const params = {
      path: { session_id: sessionId },
      query: { limit: PAGE_SIZE, details: true, ...(before && { before }) },
    };
    const result = await api.GET('/history/{session_id}', { params });
    messages = [...(unwrap(result) as Message[]), ...messages];
    before = pageCursor(result.response, 'prev');
  }
  return messages;
}

/** The name of the file, by the rule of the server's exports: letters and digits, with hyphens. */
function fileName(title: string): string {
  const name = title.replace(/[^\p{L}\p{M}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '');
  return [...name].slice(0, 80).join('') || 'conversation';
}
