/** The definitions of a message: the addresses of its links, and its footnotes. */
import type { Links, Token, Tokens } from 'marked';

export class Definitions {
  links: Links = noLinks();
  /** The numbers of the footnotes by their labels, in the order of the text. */
  notes = new Map<string, number>();
  /** Identifies the definitions: equal for equal definitions. */
  source = '';
  /** How many footnotes there are; one that is defined twice counts twice. */
  size = 0;

  copy(): Definitions {
    const copy = new Definitions();
    Object.assign(copy.links, this.links);
    copy.notes = new Map(this.notes);
    copy.source = this.source;
    copy.size = this.size;
    return copy;
  }

  /** Add the definitions in blocks of the message. The first definition of a label wins. */
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

/** A footnote: its label, as in its references, and its Markdown. */
export interface Note extends Tokens.Generic {
  type: 'note';
  label: string;
  text: string;
}

export function isNote(token: Token): token is Note {
  return token.type === 'note';
}

/** An empty table of links. It has no prototype, so that `[constructor]` is not a link. */
export function noLinks(): Links {
  return Object.create(null) as Links;
}
