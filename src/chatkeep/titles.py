"""The rule of a title, and the two ways to one: a model's text repaired, or the message's words.

A title is 3 to 5 words with single spaces between, or 2 to 16 characters in a script that sets
no spaces; one line, no quotes, label, closing punctuation, markup or control characters.
Pure: no clock, no I/O, no model.
"""

import re
import unicodedata

from chatkeep.domain import rfc3339

MIN_WORDS, MAX_WORDS = 3, 5
MIN_CHARS, MAX_CHARS = 2, 16
MAX_WORD_CHARS = 24
READ_CHARS = 2_000
"""Characters of a message that count; what follows is not read."""

RAMBLING_WORDS = 10
"""An answer longer than this is no title with a few words too many: it is something else."""

STEM_CHARS = 4
"""Words that begin with the same letters, this many, are taken for forms of one word."""

_STOP_WORDS = frozenset(
    "a about also am an and any are as at be been but by can could did do does for from get give "
    "got had has have hello hey hi how i i'd i'll i'm i've if in into is it it's its just know let "
    "like make me my need no not of on or our please say should so some tell than thank thanks "
    "that the their them then there these they this to us use using want was we were what what's "
    "when where which who why will with would write you your".split()
)
_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
_LABEL = re.compile(
    r"^\W*(?:\w+\s+){0,3}(?:title|titel|titre|título|titulo|titolo|tytuł|название|заголовок|标题|標題"
    r"|タイトル|제목)(?:\s+\w+){0,3}\s*[:：]\s*",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"[()\[\]{}<>|*`~=\\\"“”„‟«»‹›「」『』《》]+")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？…])\s+|(?<=[。！？])|\n+")
_KEPT_UNSEEN = frozenset("\n\u200c\u200d")
_PATH_MARKS = re.compile(r"[\W_]+")
_COMPOUND = re.compile(r"[-/_.,:;'’]")
_LINK = re.compile(r"\bhttps?://(?:www\.)?([^\s/?#]+)(\S*)", re.IGNORECASE)


def fallback(message: str, at: int) -> str:
    """Make a title from the message's own words; `at` (µs since 1970) fills up a very short one."""
    text = _visible(message[:READ_CHARS])
    date, clock = rfc3339(at)[:10], rfc3339(at)[11:16]
    if _is_spaceless(text):
        return _spaceless(_first_spaceless_sentence(text), date)
    words = _words(_readable(text), sentences=True)
    chosen = [word for sentence in words for word in sentence] if _is_short(words) else _best(words)
    chosen = chosen[:MAX_WORDS] or ["Chat"]
    filled = [*chosen, *(date, clock)[: max(0, MIN_WORDS - len(chosen))]]
    title = _capitalised(" ".join(filled))
    # Digits and signs may be the rest of it: then the letters say which form it has.
    return _spaceless(title, date) if _is_spaceless(title) else title


def from_model(answer: str, message: str, *, small_model: bool = False) -> str | None:
    """Make a title of what a model answered, if there is one in it.

    `None` means that the answer cannot be repaired, or has nothing to do with the message. A
    small model's words all have to be the message's: what it adds is seldom sense.
    """
    text = _visible(_THINKING.sub("", answer[: READ_CHARS * 10])).strip()
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = _MARKUP.sub(" ", _TAG.sub(" ", _LABEL.sub("", line)))
    if _is_spaceless(line):
        title = " ".join(_words(line)[0]) if _words(line) else ""
        title = title if len(title) <= MAX_CHARS else _cut_spaceless(line)
        fits = MIN_CHARS <= len(title) <= MAX_CHARS and len(line) <= MAX_CHARS * 3
        fits = fits and _is_spaceless(title)
    else:
        words = [word for group in _words(line) for word in group]
        fits = MIN_WORDS <= len(words) <= RAMBLING_WORDS
        words = words[:MAX_WORDS] if len(words) <= MAX_WORDS else _without_loose_end(words)
        fits = fits and len(words) >= MIN_WORDS and not _repeats(words)
        title = " ".join(words)
        fits = fits and not _is_spaceless(title)
    about = _visible(message[:READ_CHARS])
    fits = fits and not (small_model and _invents(title, about))
    return title if fits and _is_about(title, about) else None


def _visible(text: str) -> str:
    """The text without what cannot be seen; line ends and the joiners of some scripts stay."""
    spaced = "".join(" " if ch.isspace() and ch != "\n" else ch for ch in text)
    return "".join(ch for ch in spaced if ch.isprintable() or ch in _KEPT_UNSEEN)


def _readable(text: str) -> str:
    """The text without markup, and of an address its host and the words of its path."""

    def spoken(link: re.Match[str]) -> str:
        return f"{link[1]} {_PATH_MARKS.sub(' ', link[2])}"

    return _MARKUP.sub(" ", _LINK.sub(spoken, _TAG.sub(" ", text)))


def _is_spaceless(text: str) -> bool:
    """Whether most letters are of scripts that set no spaces between words."""
    letters = sum(ch.isalpha() for ch in text)
    return len(_SPACELESS.findall(text)) * 2 > letters > 0


def _spaceless(text: str, date: str) -> str:
    title = _cut_spaceless(text)
    return title if len(title) >= MIN_CHARS else f"{title}{date}"


def _first_spaceless_sentence(text: str) -> str:
    """From the first letter of such a script on, in the first sentence that is mostly of it."""
    sentence = next(filter(_is_spaceless, _SENTENCE_END.split(text)), text)
    first = _SPACELESS.search(sentence)
    return sentence[first.start() :] if first else sentence


def _cut_spaceless(text: str) -> str:
    """The first characters of a text, and only those of its script if the cut left too few."""
    joined = " ".join(word for group in _words(_MARKUP.sub(" ", text)) for word in group)
    cut = " ".join(_trimmed(joined[:MAX_CHARS]).split())
    return cut if _is_spaceless(cut) else _trimmed("".join(_SPACELESS.findall(text))[:MAX_CHARS])


def _words(text: str, *, sentences: bool = False) -> list[list[str]]:
    """The words of each sentence (or of all the text as one), bare of punctuation around them."""
    parts = _SENTENCE_END.split(text) if sentences else [text]
    groups = [[_trimmed(word)[:MAX_WORD_CHARS] for word in part.split()] for part in parts]
    groups = [[_trimmed(word) for word in group if word] for group in groups]
    return [group for group in groups if group]


def _trimmed(word: str) -> str:
    """The word without what is neither letter, digit nor picture at its ends; C++ and C# stay."""
    start, end = 0, len(word)
    while start < end and not _belongs(word[start]):
        start += 1
    while end > start and not _belongs(word[end - 1]):
        if word[end - 1] in "+#" and any(map(str.isalnum, word[start:end])):
            break
        end -= 1
    return word[start:end]


def _belongs(ch: str) -> bool:
    category = unicodedata.category(ch)
    return category[0] in "LNM" or category in {"So", "Sc"}


def _is_short(groups: list[list[str]]) -> bool:
    return max((len(group) for group in groups), default=0) < MIN_WORDS


def _best(groups: list[list[str]]) -> list[str]:
    """The 3 to 5 neighbouring words of an early sentence that say most about it."""
    words = next(group for group in groups if len(group) >= MIN_WORDS)

    def worth(span: tuple[int, int]) -> tuple[int, int, int]:
        start, end = span
        loose = (words[start].casefold() in _STOP_WORDS) + (
            words[end - 1].casefold() in _STOP_WORDS
        )
        content = sum(word.casefold() not in _STOP_WORDS for word in words[start:end])
        return content * 2 - loose * 3, -start, start - end

    spans = [
        (start, start + size)
        for size in range(MIN_WORDS, MAX_WORDS + 1)
        for start in range(len(words) - size + 1)
    ]
    start, end = max(spans, key=worth)
    return words[start:end]


def _without_loose_end(words: list[str]) -> list[str]:
    """The first five words, less those at the end that lead to the next one."""
    kept = words[:MAX_WORDS]
    while len(kept) > MIN_WORDS and kept[-1].casefold() in _STOP_WORDS:
        kept = kept[:-1]
    return kept


def _repeats(words: list[str]) -> bool:
    content = [word.casefold() for word in words if word.casefold() not in _STOP_WORDS]
    return len(set(content)) < len(content)


def _is_about(title: str, message: str) -> bool:
    """Whether title and message share a script and, where the message says anything, a word.

    A large model may find a good title in other words; those of a short message are then the
    better title anyway, and a long message leaves hardly a good title without one of its words.
    """
    if not any(map(str.isalpha, message)):
        return True
    if _is_spaceless(title) != _is_spaceless(message):
        return _is_spaceless(title) is False and _shares_a_word(title, message)
    if _is_spaceless(title):
        pairs = {title[i : i + 2] for i in range(len(title) - 1)}
        return any(pair in message for pair in pairs)
    return _shares_a_word(title, message)


def _shares_a_word(title: str, message: str) -> bool:
    said = _content(message)
    if not said:
        return _same_script(title, message)
    stems = {word[:STEM_CHARS] for word in said}
    return any(word[:STEM_CHARS] in stems for word in _content(title))


def _invents(title: str, message: str) -> bool:
    """Whether a title has a word that its message has not."""
    named = _content(title)
    return not named or not named <= _content(message) or _is_spaceless(message)


def _content(text: str) -> set[str]:
    """The words of a text that say something, in one case, compounds taken apart."""
    words = {word.casefold() for group in _words(_readable(text)) for word in group}
    parts = {part for word in words for part in _COMPOUND.split(word)}
    return {part for part in parts if len(part) > 1 and part not in _STOP_WORDS}


def _same_script(title: str, message: str) -> bool:
    def script(text: str) -> str:
        letter = next((ch for ch in text if ch.isalpha()), "")
        return unicodedata.name(letter, "").split(" ")[0]

    return script(title) == script(message)


def _capitalised(title: str) -> str:
    return title[:1].upper() + title[1:]
