/** Which images are shown. An image fetched from a stranger tells him who reads, and when. */
import { t } from '../language';

const INLINE = /^data:image\/(?:png|jpeg|gif|webp);base64,[a-z0-9+/=\s]*$/i;

/** Shows what may be shown and turns every other image of `fragment` into a link that says so. */
export function tameImages(fragment: DocumentFragment): void {
  for (const image of fragment.querySelectorAll('[src]')) {
    const source = image.getAttribute('src') ?? '';
    if (image.localName === 'img' && isShown(source)) {
      image.setAttribute('loading', 'lazy');
      image.setAttribute('decoding', 'async');
      image.setAttribute('referrerpolicy', 'no-referrer');
      continue;
    }
    image.removeAttribute('src');
    image.replaceWith(mention(image, source));
  }
}

/** Puts words and a link in place of every image that is not written in the text itself. */
export function nameImages(root: ParentNode): void {
  for (const image of root.querySelectorAll('img')) {
    const source = image.getAttribute('src') ?? '';
    if (!INLINE.test(source)) image.replaceWith(mention(image, source));
  }
}

function isShown(source: string): boolean {
  if (INLINE.test(source)) return true;
  const url = URL.canParse(source) ? new URL(source) : undefined;
  return url?.protocol === 'https:' && allowedHosts().some((host) => covers(host, url));
}

/** The hosts that whoever runs the server trusts, as the page's own `<meta>` lists them. */
function allowedHosts(): string[] {
  const list = document.head.querySelector('meta[name="image-hosts"]')?.getAttribute('content');
  return (list ?? '').split(/\s+/).filter(Boolean);
}

/** As in a Content-Security-Policy: a name covers the usual port, `*.` what is below a name. */
function covers(pattern: string, { host }: URL): boolean {
  if (pattern === '*') return true;
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern;
}

function mention(image: Element, source: string): Element {
  const url = URL.canParse(source) ? new URL(source) : undefined;
  const web = url?.protocol === 'https:' || url?.protocol === 'http:' ? url : undefined;
  const file = web?.pathname.split('/').pop();
  const name = image.getAttribute('alt')?.trim() || file;
  const words = name ? t.markdown.imageOf(name) : t.markdown.image;
  // A link inside a link would be torn apart, so there the words must do.
  const element = image.ownerDocument.createElement(web && !image.closest('a') ? 'a' : 'span');
  element.textContent = web ? `${words} (${web.hostname})` : words;
  if (web && element.localName === 'a') element.setAttribute('href', web.href);
  return element;
}
