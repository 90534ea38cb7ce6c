/** What a block is to the page: a small tree of lists and quotes with HTML and code at its ends. */
import type { Links, Token, Tokens } from 'marked';
import { html, parse } from './grammar';
import { tidy } from './tidy';

export interface Html {
  kind: 'html';
  html: string;
  heading: boolean;
}
export interface Code {
  kind: 'code';
  language: string;
  text: string;
  growing: boolean;
}
export interface Quote {
  kind: 'quote';
  children: Node[];
}
/** Several blocks that only stand together. */
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
export type Node = Html | Code | Quote | Group | List;

const CLOSED_FENCE = /^[^\n]*\n(?:[\s\S]*\n)? {0,3}(?:`{3,}|~{3,})[ \t]*\n*$/;

/** The block whose Markdown is `raw`; `growing` if more of it may come. */
export function read(raw: string, links: Links, growing: boolean): Node {
  const children = nodes(parse(growing ? tidy(raw) : raw, links), growing);
  const only = children[0];
  if (only && children.length === 1) return only;
  // Tidied text can fall into several blocks; they stay one until more has come.
  return { kind: 'group', children };
}

function nodes(tokens: Token[], growing: boolean): Node[] {
  const shown = tokens.filter(
    ({ type }) => type !== 'space' && type !== 'def' && type !== 'checkbox',
  );
  return shown.map((token, at) => node(token, growing && at === shown.length - 1));
}

function node(token: Token, growing: boolean): Node {
  if (token.type === 'code') return code(token as Tokens.Code, growing);
  if (token.type === 'list') return list(token as Tokens.List, growing);
  if (token.type === 'blockquote')
    return { kind: 'quote', children: nodes(token.tokens ?? [], growing) };
  return { kind: 'html', html: html([token]), heading: token.type === 'heading' };
}

function code(token: Tokens.Code, growing: boolean): Code {
  const language = /^\S{1,40}/.exec(token.lang ?? '')?.[0] ?? '';
  const closed = token.codeBlockStyle === 'indented' ? !growing : CLOSED_FENCE.test(token.raw);
  return { kind: 'code', language, text: token.text, growing: growing && !closed };
}

function list(token: Tokens.List, growing: boolean): List {
  const items = token.items.map((item, at) => ({
    task: item.task,
    checked: item.checked === true,
    children: nodes(item.tokens, growing && at === token.items.length - 1),
  }));
  const start = token.start === '' ? 1 : token.start;
  return { kind: 'list', ordered: token.ordered, start, loose: token.loose, items };
}
