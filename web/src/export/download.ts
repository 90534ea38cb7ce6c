/** A session as a file for people: read whole from the server, and handed to the browser. */

import { api, cursor, data, type Message } from '../api/client';
import { conversationAsHtml } from './html';

/** Messages of one page. */
const PAGE = 500;
/** Until the browser has surely begun to write the file. */
const KEPT_MS = 60_000;

/** Download the active branch of a session as one HTML file. Throws `Problem`. */
export async function downloadHtml(sessionId: string, title: string): Promise<void> {
  const messages = (await history(sessionId)).map(({ role, content, created_at, turn }) => ({
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
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
}

async function history(sessionId: string): Promise<Message[]> {
  let messages: Message[] = [];
  for (let before: string | null | undefined; before !== null;) {
    const params = {
      path: { session_id: sessionId },
      query: { limit: PAGE, details: true, ...(before && { before }) },
    };
    const answer = await api.GET('/history/{session_id}', { params });
    messages = [...(data(answer) as Message[]), ...messages];
    before = cursor(answer.response, 'prev');
  }
  return messages;
}

/** The title as the server's exports are called after it: letters and figures, joined by hyphens. */
function fileName(title: string): string {
  const name = title.replace(/[^\p{L}\p{M}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '');
  return [...name].slice(0, 80).join('') || 'conversation';
}
