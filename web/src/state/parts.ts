/**
 * What is shown of messages, in order: texts, reasoning, calls of tools with their results, pictures.
 * The shapes of blocks are those of the server's `domain/blocks.py`.
 */

import type { Message } from '../api/client';

export interface TextPart {
  type: 'text';
  text: string;
}

export interface ReasoningPart {
  type: 'reasoning';
  text: string;
}

export interface FilesPart {
  type: 'files';
  files: readonly AttachedFile[];
}

/** A picture, or a document that can be downloaded. */
export interface AttachedFile {
  type: 'image' | 'file';
  /** The id in the session; null for a picture of elsewhere. */
  fileId: string | null;
  /** The address of a picture of elsewhere, or a data URL. */
  url: string | null;
  /** The name of a document. */
  name: string | null;
}

export interface CallPart {
  type: 'call';
  /** The name of the tool; null if only a result without a name is known. */
  name: string | null;
  /** The arguments by name; null if the call itself is not known. */
  args: Readonly<Record<string, unknown>> | null;
  result: CallResult | null;
  /** How long the tool took; null if it is not known. */
  seconds: number | null;
  /** The messages of the call and of its result. */
  messageIds: readonly string[];
}

export interface CallResult {
  text: string;
  isError: boolean;
  files: readonly AttachedFile[];
}

export type Part = TextPart | ReasoningPart | CallPart | FilesPart;

/** What of a message is needed to show it. */
export type Source = Pick<Message, 'id' | 'role' | 'content' | 'created_at' | 'blocks'>;

type Block = Readonly<Record<string, unknown>>;

/** A call without a result yet, and when it was made. */
interface PendingCall {
  part: CallPart;
  at: string;
}

/** Whether a message is a call or a result on the way to a reply. */
export function isStep({ role, blocks }: Pick<Source, 'role' | 'blocks'>): boolean {
  return role === 'tool' || (blocks ?? []).some(({ type }) => type === 'tool_call');
}

/** The text of a message, which may have none: its `content` is a rendition of its blocks then. */
export function textOf({ content, blocks }: Pick<Source, 'content' | 'blocks'>): string {
  const hasText = (blocks ?? null) === null || blocks?.some(({ type }) => isTextType(type));
  return hasText ? content : '';
}

function isTextType(type: unknown): boolean {
  return type === 'text' || type === 'tool_result';
}

/** The parts of consecutive messages. A result is in the part of the call that it answers. */
export function partsOf(messages: readonly Source[]): Part[] {
  const parts: Part[] = [];
  let pending = new Map<string, PendingCall>();
  for (const message of messages) {
    if (message.role === 'tool') {
      const result = (message.blocks ?? []).find(({ type }) => type === 'tool_result');
      const callId = string(result?.tool_call_id) ?? '';
      const call = pending.get(callId);
      pending.delete(callId);
      if (call) answer(call, message, result ?? {});
      else parts.push(unpaired(message, result ?? {}));
      continue;
    }
    // A result belongs to a call of the message directly before the results.
    pending = new Map();
    for (const block of message.blocks ?? [{ type: 'text', text: message.content }]) {
      const part = partOf(block, message);
      if (part === null) continue;
      add(parts, part);
      if (part.type === 'call')
        pending.set(string(block.id) ?? '', { part, at: message.created_at });
    }
  }
  return parts;
}

function partOf(block: Block, message: Source): Part | null {
  if (block.type === 'text' || block.type === 'reasoning') {
    const text = string(block[block.type]) ?? (block.type === 'text' ? message.content : '');
    return text === '' ? null : { type: block.type, text };
  }
  if (block.type === 'tool_call') {
    return {
      type: 'call',
      name: string(block.name),
      args: (block.args ?? {}) as Record<string, unknown>,
      result: null,
      seconds: null,
      messageIds: [message.id],
    };
  }
  const file = fileOf(block);
  return file && { type: 'files', files: [file] };
}

/** Add a part; files that follow each other are one. */
function add(parts: Part[], part: Part): void {
  const last = parts.at(-1);
  if (last?.type === 'files' && part.type === 'files')
    parts[parts.length - 1] = { type: 'files', files: [...last.files, ...part.files] };
  else parts.push(part);
}

function fileOf(block: Block): AttachedFile | null {
  if (block.type !== 'image' && block.type !== 'file') return null;
  const [fileId, url] = [string(block.file_id), string(block.url)];
  if (fileId === null && url === null) return null;
  return { type: block.type, fileId, url, name: string(block.filename) };
}

function answer({ part, at }: PendingCall, message: Source, result: Block): void {
  part.result = resultOf(message, result);
  part.messageIds = [...part.messageIds, message.id];
  const seconds = (Date.parse(message.created_at) - Date.parse(at)) / 1_000;
  // Imported messages often have the same time.
  part.seconds = seconds > 0 ? seconds : null;
}

function unpaired(message: Source, result: Block): CallPart {
  return {
    type: 'call',
    name: string(result.name),
    args: null,
    result: resultOf(message, result),
    seconds: null,
    messageIds: [message.id],
  };
}

function resultOf(message: Source, result: Block): CallResult {
  const files = (message.blocks ?? []).map(fileOf).filter((file) => file !== null);
  return { text: message.content, isError: result.status === 'error', files };
}

function string(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

/** Arguments as they are shown: indented JSON. */
export function toJson(args: CallPart['args']): string {
  return JSON.stringify(args, null, 2);
}
