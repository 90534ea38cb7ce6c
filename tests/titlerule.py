"""The rule of a title, written a second time from the contract, so that it can find the code wrong.

3 to 5 words separated by single spaces (for scripts without spaces, 2 to 16 characters): one
line, no quotes, no label, no closing punctuation, no markup, no control characters.
"""

import re
import unicodedata

QUOTES = set('"“”„«»「」『』`')
MARKUP = set("*<>[]{}|\\")
CLOSING = set(".,;:!?…。！？、，：；")
SPACELESS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "HALFWIDTH KATAKANA")


def keeps_the_rule(title: str) -> bool:
    return not broken_rules(title)


def broken_rules(title: str) -> list[str]:
    letters = [ch for ch in title if ch.isalpha()]
    spaceless = sum(unicodedata.name(ch, "").startswith(SPACELESS) for ch in letters)
    words = title.split(" ")
    broken = []
    # Where both kinds of script are mixed, either form will do.
    has_words = 3 <= len(words) <= 5 and "" not in words
    if spaceless * 2 > len(letters):
        if not 2 <= len(title) <= 16:
            broken.append("2 to 16 characters")
    elif not has_words and not (spaceless and 2 <= len(title) <= 16):
        broken.append("3 to 5 words, single spaces")
    if title != title.strip() or (not title.isprintable() and not _joiners_only(title)):
        broken.append("one line, no control characters")
    if QUOTES & set(title) or title[:1] in "'‘" or title[-1:] in "'’":
        broken.append("no quotes")
    if MARKUP & set(title) or re.search(r"^(#|_|\d+\. |- )|~~|==|__", title):
        broken.append("no markup")
    if title[-1:] in CLOSING:
        broken.append("no closing punctuation")
    if re.match(r"\s*(chat |conversation )?title\s*[:\-]", title, re.IGNORECASE):
        broken.append("no label")
    if title.casefold() in {"new chat", "untitled", "new conversation"}:
        broken.append("never New chat")
    return broken


def _joiners_only(title: str) -> bool:
    """Joiners belong to words of some scripts and to emoji, though they cannot be seen."""
    return all(ch.isprintable() or ch in "\u200c\u200d" for ch in title)
