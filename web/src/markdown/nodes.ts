/** Blocks as the page renders them: trees of lists and quotes, with HTML and code as leaves. */
import type { Token, Tokens } from 'marked';
import { alertOf, type Alert } from './alerts';
import type { Definitions } from './definitions';
import { isDetails, type Details } from './details';
import { html, parse } from './grammar';
import { complete } from './complete';

export interface Html {
  kind: 'html';
  html: string;
  heading: boolean;
}
export interface Code {
  kind: 'code';
  language: string;
  text: string;
  streaming: boolean;
}
export interface Quote {
  kind: 'quote';
  alert: Alert | undefined;
  children: Node[];
}
/** A collapsible block; `open` is its first state. */
export interface Fold {
  kind: 'fold';
  summary: string;
  open: boolean;
  children: Node[];
}
/** Several blocks without further meaning. */
export interface Group {
  kind: 'group';
  children: Node[];
}
export interface Item {
  task: boolean;
  checked: boolean;
  children: Node[];
}
export interface List {
  kind: 'list';
  ordered: boolean;
  start: number;
  loose: boolean;
  items: Item[];
}
export type Node = Html | Code | Quote | Fold | Group | List;

const CLOSED_FENCE = /^[^\n]*\n(?:[\s\S]*\n)? {0,3}(?:`{3,}|~{3,})[ \t]*\n*$/;

/**
 * Parse one block.
 *
 * @param raw - The Markdown of the block.
 * @param definitions - The definitions of the message.
 * @param expectsDefinitions - Whether more definitions may follow.
 * @param streaming - Whether the block may still grow; then its end is completed.
 */
export function parseBlock(
  raw: string,
  definitions: Definitions,
  expectsDefinitions: boolean,
  streaming: boolean,
): Node {
  const tokens = parse(streaming ? complete(raw) : raw, definitions, expectsDefinitions);
  const children = nodes(tokens, streaming);
  const only = children[0];
  if (only && children.length === 1) return only;
  // A completed text can be several blocks; they stay together until more text arrives.
  return { kind: 'group', children };
}

function nodes(tokens: Token[], streaming: boolean): Node[] {
  const shown = tokens.filter(
    ({ type }) => type !== 'space' && type !== 'def' && type !== 'checkbox',
  );
  return shown.map((token, index) => node(token, streaming && index === shown.length - 1));
}

function node(token: Token, streaming: boolean): Node {
  if (token.type === 'code') return code(token as Tokens.Code, streaming);
  if (token.type === 'list') return list(token as Tokens.List, streaming);
  if (token.type === 'blockquote') return quote(token as Tokens.Blockquote, streaming);
  if (isDetails(token)) return fold(token, streaming);
  return { kind: 'html', html: html([token]), heading: token.type === 'heading' };
}

function quote(token: Tokens.Blockquote, streaming: boolean): Quote {
  const { alert, tokens } = alertOf(token.tokens, streaming);
  return { kind: 'quote', alert, children: nodes(tokens, streaming) };
}

function fold({ summary, tokens, open, closed }: Details, streaming: boolean): Fold {
  return {
    kind: 'fold',
    // A summary is a button itself, and must not contain others.
    summary: inline(summary).replaceAll(' class="md-ref"', ''),
    // Without a closing tag it contains all the rest, which must not be hidden.
    open: open || !closed,
    children: nodes(tokens, streaming && !closed),
  };
}

function inline(tokens: Token[]): string {
  return html([{ type: 'text', raw: '', text: '', tokens }]);
}

function code(token: Tokens.Code, streaming: boolean): Code {
  const language = /^\S{1,40}/.exec(token.lang ?? '')?.[0] ?? '';
  const closed = token.codeBlockStyle === 'indented' ? !streaming : CLOSED_FENCE.test(token.raw);
  return { kind: 'code', language, text: token.text, streaming: streaming && !closed };
}

function list(token: Tokens.List, streaming: boolean): List {
  const items = token.items.map((item, index) => ({
    task: item.task,
    checked: item.checked === true,
    children: nodes(item.tokens, streaming && index === token.items.length - 1),
  }));
  const start = token.start === '' ? 1 : token.start;
  return { kind: 'list', ordered: token.ordered, start, loose: token.loose, items };
}
