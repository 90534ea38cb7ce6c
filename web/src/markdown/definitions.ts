/** What a message defines for all of it: the addresses of its links, and its footnotes. */
import type { Links, Token, Tokens } from 'marked';

export class Definitions {
  links: Links = noLinks();
  /** The numbers of the footnotes by their labels, in the order of the text. */
  notes = new Map<string, number>();
  /** The same text as long as they are the same definitions. */
  source = '';
  /** So many footnotes are in the list; one that is defined twice is there twice. */
  size = 0;

  copy(): Definitions {
    const copy = new Definitions();
    Object.assign(copy.links, this.links);
    copy.notes = new Map(this.notes);
    copy.source = this.source;
    copy.size = this.size;
    return copy;
  }

  /** Takes what blocks of the message define. What was defined first stays. */
  add(tokens: Token[]): void {
    for (const token of tokens) {
      if (isNote(token)) {
        this.source += `[^${token.label}]`;
        this.size += 1;
        if (!this.notes.has(token.label)) this.notes.set(token.label, this.size);
      } else if (token.type === 'def') {
        this.source += token.raw;
        this.links[token.tag] ??= { href: token.href, title: token.title };
      }
    }
  }
}

/** A footnote: its label as references have it, and its Markdown. */
export interface Note extends Tokens.Generic {
  type: 'note';
  label: string;
  text: string;
}

export function isNote(token: Token): token is Note {
  return token.type === 'note';
}

/** A table of links without a prototype: `[constructor]` is no link. */
export function noLinks(): Links {
  return Object.create(null) as Links;
}
