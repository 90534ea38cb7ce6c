"""The title of a session until its model's is there: cut out of the first message.

Pure: no clock, no I/O, no model.
"""

import unicodedata
from datetime import UTC, datetime

from chatkeep.titles.candidates import best_candidate
from chatkeep.titles.words import (
    MAX_CHARS,
    MAX_WORD_CHARS,
    MAX_WORDS,
    MIN_CHARS,
    READ_CHARS,
    first_spaceless,
    has_form,
    is_spaceless,
    plain,
    spaceless_only,
    trimmed,
    visible,
)

_MONTHS = {
    "CYRILLIC": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "ARABIC": "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
    "DEVANAGARI": "जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
    "LATIN": (
        "January February March April May June July August September October November December"
    ),
}
"""The months by script, as they stand behind a day; Latin's are English."""


def provisional_title(message: str, at: int) -> str:
    """Cut a title out of a message; `at` (µs since 1970) gives a very short one a date."""
    if (title := best_candidate(message)) is not None:
        return title
    text = plain(visible(message[:READ_CHARS]))
    date = datetime.fromtimestamp(at / 1_000_000, UTC)
    if is_spaceless(text):
        return _spaceless(text, date)
    words = [trimmed(trimmed(word)[:MAX_WORD_CHARS]) for word in text.split()]
    words = [word for word in words if word][: MAX_WORDS - 2] or ["Chat"]
    title = _dated(words, date)
    # Digits and signs may be the rest of it: then the letters say which form it has.
    return title if has_form(title) else _spaceless(title, date)


def _dated(words: list[str], date: datetime) -> str:
    """`Hi, 25 November 2026`, `Hello there, 25 November`: natural, and not the next one's too."""
    text = " ".join(words)
    text = text[:1].upper() + text[1:]
    script = _script(text)
    if script == "HANGUL":
        day = f"{date.month}월 {date.day}일"
    else:
        months = _MONTHS.get(script, _MONTHS["LATIN"]).split()
        day = f"{date.day} {months[date.month - 1]}"
    if len(words) == 1 and script != "HANGUL":
        day += f" {date.year}"
    comma = "" if unicodedata.category(text[-1]) == "So" else ","
    return f"{text}{comma} {day}"


def _script(text: str) -> str:
    letter = next((ch for ch in text if ch.isalpha()), "a")
    return unicodedata.name(letter, "LATIN").split(" ")[0]


def _spaceless(text: str, date: datetime) -> str:
    """The first characters of a text, filled up with the day if there is but one."""
    run = trimmed(text[first_spaceless(text) :][:MAX_CHARS])
    run = " ".join(run.split())
    if not has_form(run) or not is_spaceless(run):
        run = trimmed(spaceless_only(text)[:MAX_CHARS])
    return run if len(run) >= MIN_CHARS else f"{run}{date.month}月{date.day}日"
