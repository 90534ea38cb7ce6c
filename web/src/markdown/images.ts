/** Decides which images are shown. An image from another server reveals to it who reads, and when. */
import { t } from '../language';

const INLINE = /^data:image\/(?:png|jpeg|gif|webp);base64,[a-z0-9+/=\s]*$/i;

/** Replace every image that may not be shown by a link to it. */
export function restrictImages(fragment: DocumentFragment): void {
  for (const image of fragment.querySelectorAll('[src]')) {
    const source = image.getAttribute('src') ?? '';
    if (image.localName === 'img' && isShown(source)) {
      image.setAttribute('loading', 'lazy');
      image.setAttribute('decoding', 'async');
      image.setAttribute('referrerpolicy', 'no-referrer');
      continue;
    }
    image.removeAttribute('src');
    image.replaceWith(imageLink(image, source));
  }
}

/** Replace every image that is not a data URL by a link to it. */
export function linkImages(root: ParentNode): void {
  for (const image of root.querySelectorAll('img')) {
    const source = image.getAttribute('src') ?? '';
    if (!INLINE.test(source)) image.replaceWith(imageLink(image, source));
  }
}

/** Whether an image may be loaded: it is in the address itself, or on a host that is allowed. */
export function isShown(source: string): boolean {
  if (INLINE.test(source)) return true;
  const url = URL.canParse(source) ? new URL(source) : undefined;
  return url?.protocol === 'https:' && allowedHosts().some((host) => covers(host, url));
}

/** The hosts in the page's `<meta name="image-hosts">`, which the server's operator trusts. */
function allowedHosts(): string[] {
  const list = document.head.querySelector('meta[name="image-hosts"]')?.getAttribute('content');
  return (list ?? '').split(/\s+/).filter(Boolean);
}

/** Match like a Content-Security-Policy: a host means its default port, `*.` all subdomains. */
function covers(pattern: string, { host }: URL): boolean {
  if (pattern === '*') return true;
  return pattern.startsWith('*.') ? host.endsWith(pattern.slice(1)) : host === pattern;
}

function imageLink(image: Element, source: string): Element {
  const url = URL.canParse(source) ? new URL(source) : undefined;
  const web = url?.protocol === 'https:' || url?.protocol === 'http:' ? url : undefined;
  const file = web?.pathname.split('/').pop();
  const name = image.getAttribute('alt')?.trim() || file;
  const text = name ? t.markdown.imageOf(name) : t.markdown.image;
  // A link cannot contain another one; there the text must do.
  const element = image.ownerDocument.createElement(web && !image.closest('a') ? 'a' : 'span');
  element.textContent = web ? `${text} (${web.hostname})` : text;
  if (web && element.localName === 'a') element.setAttribute('href', web.href);
  return element;
}
