/** Markdown as a voice would read it. */
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

/** The words of one block without its markup; code is only named. */
export function plainText(markdown: string): string {
  return speak(parse(withoutLabels(markdown), new Definitions(), true))
    .replace(/\s+/g, ' ')
    .trim();
}

function speak(tokens: Token[]): string {
  return tokens.map(say).join('');
}

function say(token: Token): string {
  switch (token.type) {
    case 'space':
    case 'br':
      return ' ';
    case 'html':
      return isDetails(token) ? `${sentence(speak(token.summary))} ${speak(token.tokens)}` : '';
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
        .map((item) => `${sentence(speak(item.tokens))} `)
        .join('');
    case 'table':
      return table(token as Tokens.Table);
    case 'image':
      return token.text ? t.markdown.imageOf(String(token.text)) : t.markdown.image;
    case 'text':
      return token.tokens ? speak(token.tokens) : decode(String(token.text));
    case 'heading':
      return `${sentence(speak(token.tokens ?? []))} `;
    case 'blockquote':
      return quote(token as Tokens.Blockquote);
    case 'paragraph':
      return `${speak(token.tokens ?? [])} `;
    default:
      return 'tokens' in token ? speak(token.tokens ?? []) : '';
  }
}

function code({ lang }: Tokens.Code): string {
  const language = /^\S{1,40}/.exec(lang ?? '')?.[0];
  return `${language ? t.markdown.codeIn(language) : t.markdown.code}.`;
}

function quote({ tokens }: Tokens.Blockquote): string {
  const { alert, tokens: inner } = alertOf(tokens, false);
  return `${alert ? `${t.markdown.alerts[alert]}: ` : ''}${speak(inner)} `;
}

function table({ header, rows }: Tokens.Table): string {
  return [header, ...rows]
    .map((row) => `${sentence(row.map((cell) => speak(cell.tokens)).join(', '))} `)
    .join('');
}

/** With a stop at its end, so that a voice pauses there. */
function sentence(words: string): string {
  const text = words.trim();
  return /[\p{L}\p{N})"'”’]$/u.test(text) ? `${text}.` : text;
}

function decode(text: string): string {
  return text.replace(/&(#39|\w{2,4});/g, (entity, name: string) => ENTITIES[name] ?? entity);
}
