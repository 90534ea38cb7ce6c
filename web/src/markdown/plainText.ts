/** Markdown as text for screen readers. */
import type { Token, Tokens } from 'marked';
import { t } from '../language';
import { alertOf } from './alerts';
import { Definitions } from './definitions';
import { isDetails } from './details';
import { withoutLabels } from './footnotes';
import { parse } from './grammar';

const ENTITIES: Record<string, string> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  '#39': "'",
  nbsp: ' ',
};

/** The text of a block without its markup; code is only mentioned. */
export function plainText(markdown: string): string {
  return textOf(parse(withoutLabels(markdown), new Definitions(), true))
    .replace(/\s+/g, ' ')
    .trim();
}

function textOf(tokens: Token[]): string {
  return tokens.map(tokenText).join('');
}

function tokenText(token: Token): string {
  switch (token.type) {
    case 'space':
    case 'br':
      return ' ';
    case 'html':
      return isDetails(token) ? `${sentence(textOf(token.summary))} ${textOf(token.tokens)}` : '';
    case 'def':
    case 'hr':
    case 'reference':
    case 'checkbox':
      return '';
    case 'code':
      return ` ${code(token as Tokens.Code)} `;
    case 'codespan':
    case 'escape':
    case 'formula':
      return String(token.text);
    case 'formulaBlock':
      return `${token.text} `;
    case 'list':
      return (token as Tokens.List).items
        .map((item) => `${sentence(textOf(item.tokens))} `)
        .join('');
    case 'table':
      return table(token as Tokens.Table);
    case 'image':
      return token.text ? t.markdown.imageOf(String(token.text)) : t.markdown.image;
    case 'text':
      return token.tokens ? textOf(token.tokens) : decode(String(token.text));
    case 'heading':
      return `${sentence(textOf(token.tokens ?? []))} `;
    case 'blockquote':
      return quote(token as Tokens.Blockquote);
    case 'paragraph':
      return `${textOf(token.tokens ?? [])} `;
    default:
      return 'tokens' in token ? textOf(token.tokens ?? []) : '';
  }
}

function code({ lang }: Tokens.Code): string {
  const language = /^\S{1,40}/.exec(lang ?? '')?.[0];
  return `${language ? t.markdown.codeIn(language) : t.markdown.code}.`;
}

function quote({ tokens }: Tokens.Blockquote): string {
  const { alert, tokens: inner } = alertOf(tokens, false);
  return `${alert ? `${t.markdown.alerts[alert]}: ` : ''}${textOf(inner)} `;
}

function table({ header, rows }: Tokens.Table): string {
  return [header, ...rows]
    .map((row) => `${sentence(row.map((cell) => textOf(cell.tokens)).join(', '))} `)
    .join('');
}

/** A text with a full stop at its end, so that a screen reader pauses there. */
function sentence(text: string): string {
  const trimmed = text.trim();
  return /[\p{L}\p{N})"'”’]$/u.test(trimmed) ? `${trimmed}.` : trimmed;
}

function decode(text: string): string {
  return text.replace(/&(#39|\w{2,4});/g, (entity, name: string) => ENTITIES[name] ?? entity);
}
