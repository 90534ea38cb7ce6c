/** Updates the nodes of the document, and leaves those alone that have not changed. */

/** With so many new children an element is replaced: if they were added one by one, the browser would
 * search all of its text for the direction of writing (`dir="auto"`) each time. */
const MAX_ADDED = 100;

/** Give `element` the children of `source`. A selection in nodes that do not change survives. */
export function patchChildren(element: Element, source: Node): void {
  let current = element.firstChild;
  let next = source.firstChild;
  while (next) {
    const [currentSibling, nextSibling]: [ChildNode | null, ChildNode | null] = [
      current?.nextSibling ?? null,
      next.nextSibling,
    ];
    if (!current) element.append(next);
    else patch(current, next);
    [current, next] = [currentSibling, nextSibling];
  }
  while (current) {
    const sibling: ChildNode | null = current.nextSibling;
    current.remove();
    current = sibling;
  }
}

function patch(current: ChildNode, next: ChildNode): void {
  if (current instanceof Text && next instanceof Text) {
    if (current.data !== next.data) current.data = next.data;
  } else if (current instanceof Element && next instanceof Element && canPatch(current, next)) {
    patchChildren(current, next);
  } else {
    current.replaceWith(next);
  }
}

function canPatch(current: Element, next: Element): boolean {
  return (
    hasSameTag(current, next) && next.childNodes.length - current.childNodes.length < MAX_ADDED
  );
}

/** Whether two elements differ in nothing but their children. */
function hasSameTag(a: Element, b: Element): boolean {
  return (
    a.localName === b.localName &&
    a.namespaceURI === b.namespaceURI &&
    a.attributes.length === b.attributes.length &&
    [...a.attributes].every(({ name, value }) => b.getAttribute(name) === value)
  );
}
