/** Puts new nodes in place of old ones, and leaves those alone that say the same. */

/** With so many new children an element is put in place as a whole: added one by one, a browser looks
 * through all that is there for each of them, in search of a letter that tells which way it reads. */
const MANY = 100;

/** Promises that `old` has the children of `fresh`; a selection in unchanged ones survives. */
export function mend(old: Element, fresh: Node): void {
  let was = old.firstChild;
  let node = fresh.firstChild;
  while (node) {
    const [nextWas, next]: [ChildNode | null, ChildNode | null] = [
      was?.nextSibling ?? null,
      node.nextSibling,
    ];
    if (!was) old.append(node);
    else mendOne(was, node);
    [was, node] = [nextWas, next];
  }
  while (was) {
    const next: ChildNode | null = was.nextSibling;
    was.remove();
    was = next;
  }
}

function mendOne(was: ChildNode, node: ChildNode): void {
  if (was instanceof Text && node instanceof Text) {
    if (was.data !== node.data) was.data = node.data;
  } else if (was instanceof Element && node instanceof Element && canMend(was, node)) {
    mend(was, node);
  } else {
    was.replaceWith(node);
  }
}

function canMend(was: Element, node: Element): boolean {
  return sameTag(was, node) && node.childNodes.length - was.childNodes.length < MANY;
}

/** Whether two elements are the same but for their children. */
function sameTag(one: Element, other: Element): boolean {
  return (
    one.localName === other.localName &&
    one.namespaceURI === other.namespaceURI &&
    one.attributes.length === other.attributes.length &&
    [...one.attributes].every(({ name, value }) => other.getAttribute(name) === value)
  );
}
