/** Pictures: those of stored messages, and those for a message that is being written. */

import { SvelteMap } from 'svelte/reactivity';
import { BASE, newId, Problem } from '../api/client';
import { request } from '../api/request';
import { t } from '../language';
import { UnusableFile } from './files';
import type { ChatBody } from './outbox';
import type { AttachedFile } from './parts';
import type { Row } from './rows';

/** What the server accepts. */
const MAX_BYTES = 10 * 2 ** 20;
const MAX_COUNT = 20;
/** Of all pictures of a message as base64. The body may have 20 MiB, and the text is in it too. */
const MAX_TOTAL = 19 * 2 ** 20;
/** How many bytes `pictureType` reads. */
const SIGNATURE_BYTES = 12;

/** A picture for a message that is being written. */
export interface Picture {
  key: string;
  /** Of its file; empty if that is not known. */
  name: string;
  /** With the bytes in base64. */
  dataUrl: string;
}

/** The pictures of unsent messages. Unlike drafts of text, they are gone after a reload. */
class DraftPictures {
  readonly #bySession = new SvelteMap<string, readonly Picture[]>();

  /** The pictures of a session's draft; of the new session's if `sessionId` is null. */
  of(sessionId: string | null): readonly Picture[] {
    return this.#bySession.get(sessionId ?? '') ?? [];
  }

  set(sessionId: string | null, pictures: readonly Picture[]): void {
    if (pictures.length > 0) this.#bySession.set(sessionId ?? '', pictures);
    else this.#bySession.delete(sessionId ?? '');
  }

  /** Put back pictures that were not sent: data URLs. */
  restore(sessionId: string | null, images: readonly string[]): void {
    const pictures = images.map((dataUrl) => ({ key: newId(), name: '', dataUrl }));
    this.set(sessionId, [...pictures, ...this.of(sessionId)]);
  }

  /** Add a picture, which must be one by `isPicture`. Throws `UnusableFile` if it is too large. */
  async add(sessionId: string | null, file: File): Promise<void> {
    if (file.size > MAX_BYTES) throw new UnusableFile(t.files.pictureTooLarge(file.name, 10));
    const picture = { key: newId(), name: file.name, dataUrl: await pictureDataUrl(file) };
    const pictures = [...this.of(sessionId), picture];
    if (pictures.length > MAX_COUNT) throw new UnusableFile(t.files.tooManyPictures(MAX_COUNT));
    const total = pictures.reduce((sum, { dataUrl }) => sum + dataUrl.length, 0);
    if (total > MAX_TOTAL) throw new UnusableFile(t.files.picturesTooLarge(file.name));
    this.set(sessionId, pictures);
  }
}

export const draftPictures = new DraftPictures();

/** Whether a file is a picture that models can be sent, by its bytes. */
export async function isPicture(file: File): Promise<boolean> {
  return (await pictureType(file)) !== null;
}

/** The media type of a picture by its first bytes, as the server decides it; null for any other file. */
async function pictureType(file: Blob): Promise<string | null> {
  const bytes = new Uint8Array(await file.slice(0, SIGNATURE_BYTES).arrayBuffer());
  const start = String.fromCharCode(...bytes);
  if (start.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (start.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (/^GIF8[79]a/.test(start)) return 'image/gif';
  return /^RIFF[^]{4}WEBP/.test(start) ? 'image/webp' : null;
}

async function pictureDataUrl(file: Blob): Promise<string> {
  const type = (await pictureType(file)) ?? '';
  return dataUrl(file.slice(0, file.size, type));
}

/** The bytes of a file in base64, with its type. */
export function dataUrl(file: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error('The file cannot be read.'));
    reader.readAsDataURL(file);
  });
}

/** Where the server has a file of a session. */
export function fileUrl(sessionId: string, fileId: string): string {
  return `${BASE}/files/${encodeURIComponent(sessionId)}/${encodeURIComponent(fileId)}`;
}

/** A file of a session as a data URL. Throws `Problem`. */
export async function readFile(sessionId: string, fileId: string): Promise<string> {
  const response = await request(fileUrl(sessionId, fileId));
  if (!response.ok) {
    throw Problem.from(await response.json().catch(() => null), response.status);
  }
  return dataUrl(await response.blob());
}

/** The pictures and documents of a message. */
export function filesOf({ parts }: Pick<Row, 'parts'>): AttachedFile[] {
  return parts.flatMap((part) => (part.type === 'files' ? part.files : []));
}

/** Pictures and documents as fields of `POST /chat`. Throws `Problem` if one cannot be read. */
export async function attachmentsOf(
  sessionId: string,
  files: readonly AttachedFile[],
): Promise<Partial<ChatBody>> {
  const images: string[] = [];
  const documents: { name: string; data: string }[] = [];
  for (const { type, fileId, url, name } of files) {
    const data = fileId === null ? url : await readFile(sessionId, fileId);
    if (data === null) continue;
    if (type === 'image') images.push(data);
    else documents.push({ name: name ?? t.pictures.document, data });
  }
  return {
    ...(images.length > 0 && { images }),
    ...(documents.length > 0 && { files: documents }),
  };
}

/** Pictures as a field of `POST /chat`, which takes no empty list. */
export function imagesParam(images: readonly string[]): Partial<ChatBody> {
  return images.length > 0 ? { images: [...images] } : {};
}
