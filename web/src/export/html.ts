/** A conversation as one HTML file, which loads nothing and runs no script. */
import { flushSync, mount, tick, unmount } from 'svelte';
import { t } from '../language';
import { escape } from '../markdown/escape';
import { formulas } from '../markdown/formulas.svelte';
import { linkImages } from '../markdown/images';
import Markdown from '../markdown/Markdown.svelte';
import markdownStyles from '../markdown/markdown.css?inline';
import { highlighted } from '../markdown/codeHighlighter';
import { duration } from '../state/figures';
import { toJson, type CallPart, type AttachedFile, type Part } from '../state/parts';
import { dataUrl } from '../state/pictures.svelte';
import pageStyles from '../styles.css?inline';
import documentStyles from './document.css?inline';

export interface ExportedMessage {
  role: 'user' | 'assistant' | 'system' | 'tool';
  /** What it shows, with the bytes of files in their addresses. */
  parts: readonly Part[];
  /** In ISO 8601. */
  createdAt: string;
  model: string | null;
}

export interface ExportedConversation {
  title: string;
  /** The messages of one branch, oldest first, each reply with its steps. */
  messages: readonly ExportedMessage[];
  /** How many messages they are with every step. */
  count: number;
}

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'";
const FONT = 'assets/stix-two-math.woff2';

/** Render the file in the page's language. It is light or dark like the system of its reader. */
export async function conversationAsHtml(conversation: ExportedConversation): Promise<Blob> {
  const { title, messages, count } = conversation;
  const articles: string[] = [];
  for (const [index, message] of messages.entries()) articles.push(await article(message, index));
  const styles = [palette(), await font(articles), markdownStyles, documentStyles].join('\n');
  const about = [day(messages[0]?.createdAt), t.common.messages(count)];
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

async function article(message: ExportedMessage, index: number): Promise<string> {
  const { role, parts, createdAt, model } = message;
  const contents: string[] = [];
  for (const [number, part] of parts.entries())
    contents.push(await renderPart(part, role, `m${index + 1}-${number + 1}`));
  const time = `<time datetime="${escape(createdAt)}">${escape(dateTime(createdAt))}</time>`;
  const about = [model === null ? '' : escape(model), time].filter(Boolean).join(' · ');
  return `<article class="${role}">
<header><h2>${escape(t.receipt.roles[role])}</h2><p>${about}</p></header>
${contents.join('\n')}
</article>`;
}

/** A part of a message; `id` is the beginning of the ids in it. */
async function renderPart(part: Part, role: string, id: string): Promise<string> {
  if (part.type === 'text' && role === 'user')
    return `<div class="words" dir="auto">${escape(part.text)}</div>`;
  if (part.type === 'text') return renderMarkdown(part.text, id);
  if (part.type === 'reasoning')
    return fold(escape(t.steps.reasoning), await renderMarkdown(part.text, id));
  return part.type === 'call' ? renderCall(part) : part.files.map(renderFile).join('\n');
}

function renderCall({ name, args, result, seconds }: CallPart): string {
  const title = `<code>${escape(name ?? t.steps.tool)}</code>`;
  const state = result === null ? t.steps.unanswered : result.isError ? t.steps.failed : '';
  const time = seconds === null ? '' : duration(seconds);
  const summary = [title, escape(state), escape(time)].filter(Boolean).join(' · ');
  const contents = args === null ? [] : [preformatted(t.steps.arguments, toJson(args))];
  if (result !== null) {
    contents.push(preformatted(t.steps.result, result.text), ...result.files.map(renderFile));
  }
  return fold(summary, contents.join('\n'));
}

function fold(summary: string, content: string): string {
  return `<details class="step"><summary>${summary}</summary>\n${content}\n</details>`;
}

function preformatted(title: string, text: string): string {
  const label = escape(title);
  return `<h3>${label}</h3>
<pre tabindex="0" role="group" aria-label="${label}" dir="auto">${escape(text)}</pre>`;
}

/** A picture or a document whose bytes are in its address; of any other picture its address. */
function renderFile({ type, url, name }: AttachedFile): string {
  const address = escape(url ?? '');
  if (url?.startsWith('data:') && type === 'image')
    return `<p><img src="${address}" alt="${escape(t.markdown.image)}"></p>`;
  if (url?.startsWith('data:')) {
    const title = escape(name ?? t.pictures.document);
    return `<p><a href="${address}" download="${title}">${title}</a></p>`;
  }
  if (!url || !/^https?:/.test(url) || !URL.canParse(url)) return '';
  const host = escape(t.pictures.remote(new URL(url).hostname));
  return `<p><a href="${address}" rel="noopener noreferrer nofollow">${host}</a></p>`;
}

/** Markdown as the page renders it, without what needs scripts; `id` begins the ids in it. */
async function renderMarkdown(text: string, id: string): Promise<string> {
  const host = document.createElement('div');
  const component = mount(Markdown, { target: host, props: { text, streaming: false } });
  flushSync();
  await formulas.settled();
  await tick();
  await highlighted();
  const copy = host.cloneNode(true) as HTMLElement;
  await unmount(component);
  makeStatic(copy);
  linkImages(copy);
  linkFootnotes(copy, id);
  return copy.innerHTML;
}

/** Remove what only works with scripts, and set the attributes that they would have set. */
function makeStatic(root: HTMLElement): void {
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
  // `checked` is a property only; the file needs the attribute.
  for (const box of root.querySelectorAll('input')) box.toggleAttribute('checked', box.checked);
}

/** Link references and footnotes by fragments, where the page uses a script. */
function linkFootnotes(root: HTMLElement, message: string): void {
  const references = new Set<string>();
  for (const button of root.querySelectorAll('.md-ref > button')) {
    const number = button.textContent ?? '';
    const link = anchor(button, `#${message}-note-${number}`);
    if (!references.has(number)) link.id = `${message}-reference-${number}`;
    references.add(number);
    button.replaceWith(link);
  }
  for (const [index, note] of root.querySelectorAll('.md-notes > ol > li').entries()) {
    const number = String(index + 1);
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

/** The stylesheet's variables: the page's colours and sizes. */
function palette(): string {
  return /:root\s*\{[^}]*\}/.exec(pageStyles)?.[0] ?? '';
}

/** The font of formulas if there are any. If it cannot be read, the system's font is used. */
async function font(articles: readonly string[]): Promise<string> {
  if (!articles.some((html) => html.includes('<math'))) return '';
  try {
    const response = await fetch(new URL(FONT, document.baseURI));
    if (!response.ok) return '';
    const address = await dataUrl(await response.blob());
    return `@font-face{font-family:"STIX Two Math";src:url(${address}) format("woff2")}`;
  } catch {
    return '';
  }
}

function day(time: string | undefined): string {
  if (time === undefined) return '';
  return new Date(time).toLocaleDateString(undefined, { dateStyle: 'long' });
}

function dateTime(time: string): string {
  return new Date(time).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });
}
