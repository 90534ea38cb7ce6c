/** Downloads a session as a file for people. */

import { api, pageCursor, unwrap, type Message } from '../api/client';
import { conversationAsHtml } from './html';

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
  const messages = (await readHistory(sessionId)).map(({ role, content, created_at, turn }) => ({
    role,
    text: content,
    createdAt: created_at,
    model: role === 'assistant' ? (turn?.model ?? null) : null,
  }));
  const file = await conversationAsHtml({ title, messages });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = `${fileName(title)}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), URL_LIFETIME_MS);
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
