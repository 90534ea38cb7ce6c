/** A conversation as one HTML file, which needs nothing else and runs nothing. */
import { flushSync, mount, tick, unmount } from 'svelte';
import { t } from '../language';
import { escape } from '../markdown/escape';
import { formulas } from '../markdown/formulas.svelte';
import { nameImages } from '../markdown/images';
import Markdown from '../markdown/Markdown.svelte';
import markdownStyles from '../markdown/markdown.css?inline';
import { painted } from '../markdown/codeHighlighter';
import pageStyles from '../styles.css?inline';
import documentStyles from './document.css?inline';

export interface ExportedMessage {
  role: 'user' | 'assistant' | 'system' | 'tool';
  text: string;
  /** As the server writes moments. */
  createdAt: string;
  model: string | null;
}

export interface ExportedConversation {
  title: string;
  /** Those of one branch, the first one first. */
  messages: readonly ExportedMessage[];
}

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'";
const FONT = 'assets/stix-two-math.woff2';

/** Makes the file as the page shows the conversation now: in its language, light or dark as it is read. */
export async function conversationAsHtml(conversation: ExportedConversation): Promise<Blob> {
  const { title, messages } = conversation;
  const articles: string[] = [];
  for (const [at, message] of messages.entries()) articles.push(await article(message, at));
  const styles = [palette(), await font(articles), markdownStyles, documentStyles].join('\n');
  const about = [day(messages[0]?.createdAt), t.common.messages(messages.length)];
  const html = `<!doctype html>
<html lang="${escape(document.documentElement.lang || 'en')}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>${escape(title)}</title>
<style>${styles}</style>
</head>
<body>
<main>
<header>
<h1 dir="auto">${escape(title)}</h1>
<p>${about.filter(Boolean).map(escape).join(' · ')}</p>
</header>
${articles.join('\n')}
</main>
</body>
</html>
`;
  return new Blob([html], { type: 'text/html' });
}

async function article(message: ExportedMessage, at: number): Promise<string> {
  const { role, text, createdAt, model } = message;
  const words =
    role === 'user' ? `<div class="words" dir="auto">${escape(text)}</div>` : await drawn(text, at);
  const time = `<time datetime="${escape(createdAt)}">${escape(moment(createdAt))}</time>`;
  const about = [model === null ? '' : escape(model), time].filter(Boolean).join(' · ');
  return `<article class="${role}">
<header><h2>${escape(t.receipt.roles[role])}</h2><p>${about}</p></header>
${words}
</article>`;
}

/** Markdown as the page draws it, in a form that lies still. */
async function drawn(text: string, at: number): Promise<string> {
  const host = document.createElement('div');
  const component = mount(Markdown, { target: host, props: { text, streaming: false } });
  flushSync();
  await formulas.settled();
  await tick();
  await painted();
  const copy = host.cloneNode(true) as HTMLElement;
  await unmount(component);
  quieten(copy);
  nameImages(copy);
  linkFootnotes(copy, `m${at + 1}`);
  return copy.innerHTML;
}

/** Takes away what only works with scripts, and what they would have added. */
function quieten(root: HTMLElement): void {
  const comments = document.createTreeWalker(root, NodeFilter.SHOW_COMMENT);
  const anchors: Node[] = [];
  while (comments.nextNode()) anchors.push(comments.currentNode);
  for (const anchor of anchors) anchor.parentNode?.removeChild(anchor);
  for (const button of root.querySelectorAll('.md-copy, .md-code-head > [role="status"]'))
    button.remove();
  for (const code of root.querySelectorAll<HTMLElement>('.md-code')) {
    const lines = code.querySelector('pre');
    const name = code.querySelector('.md-code-language')?.textContent ?? '';
    if (!lines) continue;
    // A keyboard must be able to scroll it.
    lines.tabIndex = 0;
    lines.setAttribute('role', 'group');
    const { code: nameless, codeIn } = t.markdown;
    lines.setAttribute('aria-label', name === nameless ? nameless : codeIn(name));
  }
  // What is checked is no attribute until it is written.
  for (const box of root.querySelectorAll('input')) box.toggleAttribute('checked', box.checked);
}

/** Footnotes by addresses in the file: what the page does by a script needs none here. */
function linkFootnotes(root: HTMLElement, message: string): void {
  const references = new Set<string>();
  for (const button of root.querySelectorAll('.md-ref > button')) {
    const number = button.textContent ?? '';
    const link = anchor(button, `#${message}-note-${number}`);
    if (!references.has(number)) link.id = `${message}-reference-${number}`;
    references.add(number);
    button.replaceWith(link);
  }
  for (const [at, note] of root.querySelectorAll('.md-notes > ol > li').entries()) {
    const number = String(at + 1);
    note.id = `${message}-note-${number}`;
    note.removeAttribute('tabindex');
    const button = note.querySelector('.md-back');
    if (!button) continue;
    if (references.has(number))
      button.replaceWith(anchor(button, `#${message}-reference-${number}`));
    else button.remove();
  }
}

function anchor(button: Element, address: string): HTMLAnchorElement {
  const link = document.createElement('a');
  link.href = address;
  link.className = button.className;
  link.textContent = button.textContent;
  const name = button.getAttribute('aria-label');
  if (name) link.setAttribute('aria-label', name);
  return link;
}

/** The page's colours and sizes, without what it does with them. */
function palette(): string {
  return /:root\s*\{[^}]*\}/.exec(pageStyles)?.[0] ?? '';
}

/** The font of formulas, where there are some; a reader without it has the system's own. */
async function font(articles: readonly string[]): Promise<string> {
  if (!articles.some((html) => html.includes('<math'))) return '';
  try {
    const response = await fetch(new URL(FONT, document.baseURI));
    if (!response.ok) return '';
    const address = await dataAddress(await response.blob());
    return `@font-face{font-family:"STIX Two Math";src:url(${address}) format("woff2")}`;
  } catch {
    return '';
  }
}

function dataAddress(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error ?? new Error('The font cannot be read.'));
    reader.readAsDataURL(blob);
  });
}

function day(time: string | undefined): string {
  if (time === undefined) return '';
  return new Date(time).toLocaleDateString(undefined, { dateStyle: 'long' });
}

function moment(time: string): string {
  return new Date(time).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}
