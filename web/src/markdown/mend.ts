/** Puts new nodes in place of old ones, and leaves those alone that say the same. */

/** Promises that `old` has the children of `fresh`; a selection in unchanged ones survives. */
export function mend(old: Element, fresh: Node): void {
  const before = [...old.childNodes];
  const after = [...fresh.childNodes];
  after.forEach((node, at) => {
    const was = before[at];
    if (!was) old.append(node);
    else if (!was.isEqualNode(node)) mendOne(was, node);
  });
  for (const surplus of before.slice(after.length)) surplus.remove();
}

function mendOne(was: ChildNode, node: ChildNode): void {
  if (was instanceof Text && node.nodeType === Node.TEXT_NODE) was.data = node.textContent ?? '';
  else if (was instanceof Element && sameTag(was, node)) mend(was, node);
  else was.replaceWith(node);
}

/** Compared without their children. */
function sameTag(was: Element, node: ChildNode): node is Element & ChildNode {
  return was.cloneNode(false).isEqualNode(node.cloneNode(false));
}
