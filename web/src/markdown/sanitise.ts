/** Sanitises rendered HTML. Everything from a model passes here before it reaches the page. */
import createPurifier, { type Config, type DOMPurify } from 'dompurify';
import { t } from '../language';
import { restrictImages } from './images';

/** `text` is Markdown's HTML, `code` is highlighted source, `maths` is MathML. */
export type Kind = 'text' | 'code' | 'maths';

const TEXT_TAGS =
  'a abbr b blockquote br caption cite code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ' +
  'ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td tfoot th ' +
  'thead tr u ul var';
const MATHS_TAGS =
  'math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ' +
  'ms mspace msqrt mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none';
const MATHS_ATTRIBUTES =
  'accent accentunder class columnalign columnspacing columnspan depth display displaystyle fence ' +
  'form height largeop linethickness lspace mathcolor mathsize mathvariant maxsize minsize ' +
  'movablelimits notation rowspacing rowspan rspace scriptlevel separator stretchy symmetric voffset ' +
  'width';

const COMMON = {
  RETURN_DOM_FRAGMENT: true,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  ALLOW_SELF_CLOSE_IN_ATTR: false,
} as const satisfies Config;
const HTML = 'http://www.w3.org/1999/xhtml';

const CONFIGS: Record<Kind, Config> = {
  text: {
    ...COMMON,
    ALLOWED_TAGS: TEXT_TAGS.split(' '),
    ALLOWED_ATTR: 'align alt class colspan dir href open rowspan src start title'.split(' '),
    ALLOWED_NAMESPACES: [HTML],
  },
  code: {
    ...COMMON,
    ALLOWED_TAGS: ['span'],
    ALLOWED_ATTR: ['class'],
    ALLOWED_NAMESPACES: [HTML],
  },
  maths: {
    ...COMMON,
    ALLOWED_TAGS: MATHS_TAGS.split(' '),
    ALLOWED_ATTR: MATHS_ATTRIBUTES.split(' '),
    ALLOWED_NAMESPACES: [HTML, 'http://www.w3.org/1998/Math/MathML'],
  },
};

/** The classes that are allowed: a model must not imitate the page's own elements. */
const CLASSES: Record<Kind, RegExp> = {
  text: /^(?:language-[\w+#.-]{1,40}|md-(?:math|display|ref))$/,
  code: /^(?:hljs-[\w-]+|[a-z]+_{1,2})$/,
  maths: /^(?:tml-[\w-]+|mathcal|mathscr|mathsf|mathtt|boldsymbol|upstrike|downstrike|sout)$/,
};
const SCHEMES = new Set(['http:', 'https:', 'mailto:']);

/** HTML without markup, as most items of lists are: there is nothing to sanitise. */
const PLAIN = /^(?:<p>([^<&]*)<\/p>\n|([^<&]*))$/;

/** One for each kind: to change the settings of one costs more than to sanitise a paragraph. */
const PURIFIERS = { text: purifier('text'), code: purifier('code'), maths: purifier('maths') };

function purifier(kind: Kind): DOMPurify {
  const purify = createPurifier(window);
  purify.setConfig(CONFIGS[kind]);
  purify.addHook('uponSanitizeAttribute', (_, data) => {
    if (data.attrName !== 'class') return;
    const allowed = data.attrValue.split(/\s+/).filter((name) => CLASSES[kind].test(name));
    data.attrValue = allowed.join(' ');
    data.keepAttr = allowed.length > 0;
  });
  return purify;
}

/**
 * Sanitise HTML: it runs no script, loads nothing but images from allowed hosts, and links only to
 * http, https and mailto.
 *
 * @param html - The HTML, from any source.
 * @param kind - What it may contain.
 */
export function sanitise(html: string, kind: Kind = 'text'): DocumentFragment {
  const plain = PLAIN.exec(html);
  if (plain) return paragraph(plain[1], plain[2]);
  // Parsed in a document without a window: no image loads before `restrictImages` has seen it.
  const fragment = PURIFIERS[kind].sanitize(
    withoutReported(html),
  ) as unknown as DocumentFragment | null;
  if (!fragment) return document.createDocumentFragment();
  if (isTooDeep(fragment)) return paragraph(html);
  if (kind === 'text') {
    restrictImages(fragment);
    restrictLinks(fragment);
    lowerHeadings(fragment);
    wrapTables(fragment);
  }
  return fragment;
}

const MAX_DEPTH = 40;

/** Whether elements are nested so deeply that their layout could block the page for seconds. */
function isTooDeep(parent: ParentNode, left = MAX_DEPTH): boolean {
  if (left === 0) return true;
  for (let child = parent.firstElementChild; child; child = child.nextElementSibling) {
    if (isTooDeep(child, left - 1)) return true;
  }
  return false;
}

function paragraph(inside: string | undefined, bare = ''): DocumentFragment {
  const fragment = document.createDocumentFragment();
  if (inside === undefined) {
    fragment.append(bare);
    return fragment;
  }
  const element = document.createElement('p');
  element.append(inside);
  fragment.append(element);
  return fragment;
}

/** Remove what the page's policy would report on parsing. Safety does not depend on this. */
function withoutReported(html: string): string {
  if (!/<[a-z][^<>]*(?:style|on\w+)\s*=|<style|<base/i.test(html)) return html;
  return html
    .replace(/<style\b[\s\S]*?(?:<\/style\b[^>]*>|$)/gi, '')
    .replace(/<base\b/gi, '<i')
    .replace(/<[a-z][^<>]*/gi, (tag) =>
      tag.replace(/([\s"'/])(?:style|on\w+)(?=\s*=)/gi, '$1data-off'),
    );
}

/** Whether a link to this address is allowed. A relative one could change the page's own state. */
function isAllowedLink(href: string): boolean {
  return URL.canParse(href) && SCHEMES.has(new URL(href).protocol);
}

function restrictLinks(fragment: DocumentFragment): void {
  for (const link of fragment.querySelectorAll('[href]')) {
    if (link.localName !== 'a' || !isAllowedLink(link.getAttribute('href') ?? '')) {
      link.removeAttribute('href');
      continue;
    }
    link.setAttribute('target', '_blank');
    link.setAttribute('rel', 'noopener noreferrer nofollow');
    link.setAttribute('referrerpolicy', 'no-referrer');
  }
}

/** The page itself uses h1 and h2. */
function lowerHeadings(fragment: DocumentFragment): void {
  for (const heading of fragment.querySelectorAll('h1, h2, h3, h4, h5, h6')) {
    const level = Number(heading.localName.slice(1));
    const lower = heading.ownerDocument.createElement(`h${Math.min(level + 2, 6)}`);
    lower.className = `md-h${level}`;
    lower.append(...heading.childNodes);
    heading.replaceWith(lower);
  }
}

/** Put tables into containers that scroll, and can be focused so that a keyboard can scroll them. */
function wrapTables(fragment: DocumentFragment): void {
  for (const table of fragment.querySelectorAll('table')) {
    const scroll = table.ownerDocument.createElement('div');
    scroll.className = 'table-scroll';
    scroll.tabIndex = 0;
    scroll.setAttribute('role', 'group');
    scroll.setAttribute('aria-label', t.markdown.table);
    table.replaceWith(scroll);
    scroll.append(table);
  }
}
