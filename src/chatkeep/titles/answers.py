"""Finds the title in a model's answer.

An answer that has the form of a title is the title, unchanged; any other is cleaned. Only what is
no title is rejected: a form that cannot be repaired, a refusal, an example of our own prompt.
"""

import html
import json
import re
from collections.abc import Iterator
from itertools import islice

from chatkeep.titles import function_words
from chatkeep.titles.prompts import EXAMPLES
from chatkeep.titles.words import (
    MAX_CHARS,
    MAX_WORDS,
    MIN_WORDS,
    QUOTES,
    has_form,
    is_spaceless,
    plain,
    trimmed,
    visible,
    without_tags,
)

READ_CHARS = 20_000
"""Characters of an answer that are read: reasoning can come before the title."""

READ_LINES, READ_LINE_CHARS = 6, 500
"""Lines in which a title is looked for, introductions included."""

MAX_REPAIRED_WORDS = 10
"""An answer longer than this is no title with a few words too many: it is something else."""

_WORD = re.compile(r"[^\W_]+")
MIN_CAPITAL_CHARS = 4
"""Letters from which on a word has a capital in a title, wherever titles have them."""

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ENTITY = re.compile(r"&(?:[a-z]{2,6}|#\d{1,6});")
_THINKING = r"think|thinking|thought|thoughts|reasoning|reflection|analysis|scratchpad"
_REASONING = re.compile(
    rf"<({_THINKING})\b[^<>]*>.*?(?:</\1\s*>|\Z)|\[THINK\].*?(?:\[/THINK\]|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_REASONING_END = re.compile(rf"\A.*(?:</(?:{_THINKING})\s*>|\[/THINK\])", re.DOTALL | re.IGNORECASE)
_CHANNEL = re.compile(r"(?:.*<\|channel\|>)?\s*(\w{1,40})?[^<|]{0,200}<\|message\|>", re.DOTALL)
_CHANNEL_MARK = re.compile(r"<\|[^<>|]{0,40}\|>")
_LOST_CHANNEL_MARKS = re.compile(r"\Aanalysis(?=[A-Z]).*assistantfinal", re.DOTALL)
_FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[^\S\n]*[\w-]*[^\S\n]*$", re.MULTILINE)
_JSON_TITLE = re.compile(
    r"[\"'](?:\w*_)?(?:titles?|name)[\"']\s*:\s*\[?\s*([\"'])(.*?)(?:\1|\Z)", re.DOTALL
)
_JSON_START = re.compile(r"\s*(?:\{|\[\s*[\"'{])")
_ZERO_WIDTH_SPACE = re.compile(r"(?<=[a-z0-9])\u200b+(?=[A-Z])")
_ITEM = re.compile(r"^\s*(?:#{1,6}|[-*+•–>]|\(?\d{1,2}[.)]|\|)\s+")
_LABELS = (
    "title|titel|titre|título|titulo|titolo|tytuł|başlık|tiêu đề|τίτλος|заголовок|название|назва"
    "|тема|العنوان|عنوان|शीर्षक|כותרת|제목|주제|标题|標題|题目|題目|主题|主題|タイトル|題名|件名"
    "|subject|topic|name|betreff|thema|sujet|asunto|oggetto|chủ đề"
)
_LABEL = re.compile(
    r"^\W*(?:(?:the|a|an|my|your|our|this|chat|conversation|session|thread|suggested|suggestion|"
    r"proposed|possible|short|concise|generated|new|final|good|best|better)\s+){0,4}"
    rf"(?:{_LABELS})(?:\s+(?:for|of|is|suggestion|idea)(?:\s+\w+){{0,3}})?\W{{0,4}}?"
    r"\s*(?:[:：=]|\s[-–—]+\s|[-–—]+\s)\s*",
    re.IGNORECASE,
)
_LABEL_ALONE = re.compile(rf"\W*(?:{_LABELS})\W*", re.IGNORECASE)
_STRONG_LABEL = re.compile(
    rf"\W*(?:(?:chat|conversation)\s+)?(?:{_LABELS})\s*[:：=]", re.IGNORECASE
)
_INTERJECTION = re.compile(
    "^\\W*(?:sure|certainly|of course|absolutely|okay|ok|great|klar|gerne|claro|bien sûr|certo"
    "|конечно|好的|当然|はい|もちろん|네|물론)[!！,，、.。]\\s*",
    re.IGNORECASE,
)
_INTRODUCTION = re.compile(
    r"^\W*(?:(?:sure|certainly|of course|absolutely|okay|ok|alright|great|got it"
    "|here(?:['’]s| is| are)|klar|gerne|natürlich|hier ist|bien sûr|voici|claro|por supuesto"
    r"|aquí (?:está|tienes)|certo|ecco|конечно|вот)\b|当然|好的|以下是|はい|もちろん|네|물론)"
    r"[^:：\n]{0,100}(?:[:：]\s*|[!.！。]?\s*$)",
    re.IGNORECASE,
)
_NOTE = re.compile(
    r"\s*[(\[（][^()\[\]（）]*(?:\b(?:words?|characters?|Wörter|mots|palabras)\b|字|単語)"
    r"[^()\[\]（）]*[)\]）]\s*$",
    re.IGNORECASE,
)
_QUOTED = re.compile(rf"[{QUOTES}]([^{QUOTES}\n]{{5,100}})[{QUOTES}]")
_SENTENCE_END = re.compile(r"(?<=[\w)\"”»][.!?])\s+(?=\S)|(?<=[。！？])")
_STATEMENT = re.compile(r"\w[\"”»)]?\s*[.。]\s*$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CLAUSE_CHARS = re.compile(r"[：:，,、；;。！？—–]|\s-\s")
_REFUSAL = re.compile(
    r"\W*(?:(?:I[’']?m|I am|we[’']?re) (?:so |very |really |terribly )?"
    r"(?:sorry|afraid|unable|not able)\b"
    r"|(?:sorry|unfortunately|regrettably)\s*,|I (?:apologi[sz]e|must decline)\b"
    r"|(?:my )?apologies\b|as an? (?:ai|artificial|large|language|assistant)\b"
    r"|es tut mir leid|tut mir leid|leider kann|entschuldigung"
    r"|ich kann (?:dir|ihnen|dabei|das|leider|nicht)\b"
    r"|(?:je suis )?désolée?\b|je ne peux pas|je m[’']excuse"
    r"|lo siento|lo lamento|no puedo\b|disculpa|perdón,|mi dispiace|non posso\b|sono spiacente"
    r"|desculpe|sinto muito|lamento,|não posso\b|przepraszam|niestety"
    "|к сожалению|извините|простите|прошу прощения|мне (?:очень )?жаль|я не могу|на жаль|вибачте"
    "|(?:很|非常)?抱歉|对不起|對不起|我无法|我無法|我不能|申し訳|すみません|ごめんなさい|恐れ入ります"
    "|죄송|미안|유감|آسف|أعتذر|عذرا|عذرًا|لا أستطيع|لا يمكنني|क्षमा|माफ़|माफ करें|खेद"
    "|üzgünüm|maalesef|xin lỗi|rất tiếc|ขออภัย|ขอโทษ|συγγνώμη|λυπάμαι|מצטער|סליחה)",
    re.IGNORECASE,
)
_REFUSAL_SENTENCE = re.compile(
    r"\W*I (?:cannot|can[’']?t|can not|won[’']?t|do not|don[’']?t) [a-z]"
)
"""In small letters: “I Can't Sleep at Night” is a title."""


def title_from_answer(answer: str, message: str) -> str | None:
    """Return the title in a model's answer, or `None` if there is none.

    Args:
        answer: What the model wrote, whatever its form.
        message: The session's first message, which the title is about.

    """
    text = _without_reasoning(answer[:READ_CHARS])
    if _is_refusal(text, message):
        return None
    for line in _lines(text):
        title = _title_of_line(line)
        if title is not None:
            return None if _is_no_title(title, message) else title
    return None


def _is_no_title(title: str, message: str) -> bool:
    return _is_example(title, message) or _repeats_one_word(title, message)


def _is_refusal(text: str, message: str) -> bool:
    """True if an answer declines to give a title.

    A title may begin in the same way: where its words have capitals (“Apologies in Business
    Emails”), or where the message itself has these words.
    """
    if _REFUSAL_SENTENCE.match(text):
        return True
    refusal = _REFUSAL.match(text)
    if refusal is None:
        return False
    words = [word for word in text.split() if len(word) >= MIN_CAPITAL_CHARS and word[0].isalpha()]
    is_titled = len(words) > 1 and all(word[0].isupper() for word in words)
    is_quoted = refusal[0].strip().casefold() in message.casefold()
    return not (has_form(_tidy(text)) and (is_titled or is_quoted))


def _without_reasoning(answer: str) -> str:
    """A model's final text, without channels, reasoning, fences and JSON around it."""
    text = _ANSI.sub("", answer).strip()
    if "<|" in text:
        text = _last_channel(text)
    text = _LOST_CHANNEL_MARKS.sub("", text)
    text = _REASONING.sub("", text)
    text = _FENCE.sub("", _REASONING_END.sub("", text)).strip()
    if _JSON_START.match(text):
        text = _title_in_json(text)
    return html.unescape(text) if _ENTITY.search(text) else text


def _last_channel(text: str) -> str:
    """The text of the last channel of an answer in harmony's format, unless it is reasoning.

    https://cookbook.openai.com/articles/openai-harmony
    """
    channel = _CHANNEL.match(text)
    if channel is not None:
        text = "" if channel[1] == "analysis" else text[channel.end() :]
    return _CHANNEL_MARK.sub("\n", text)


def _title_in_json(text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        match = _JSON_TITLE.search(text)
        return match[2] if match else text
    return next(_strings(value, depth=3), "")


def _strings(value: object, depth: int) -> Iterator[str]:
    """The texts of a JSON value; of an object with a key like `title`, that one's alone."""
    if isinstance(value, str):
        yield value
    elif depth > 0 and isinstance(value, dict):
        titles = [key for key in value if "title" in key.casefold() or key.casefold() == "name"]
        for key in titles or value:
            yield from _strings(value[key], depth - 1)
    elif depth > 0 and isinstance(value, list):
        for item in value:
            yield from _strings(item, depth - 1)


def _lines(text: str) -> Iterator[str]:
    """The lines that may be a title, without labels, introductions and notes."""
    visible_text = visible(_ZERO_WIDTH_SPACE.sub(" ", text).replace("\u200b", ""))
    lines = (line[:READ_LINE_CHARS] for line in visible_text.splitlines() if line.strip())
    read = [line for line in islice(lines, READ_LINES * 2) if plain(line).strip()][:READ_LINES]
    for number, raw in enumerate(read):
        is_last = number == len(read) - 1
        line = _NOTE.sub("", _ITEM.sub("", raw))
        if _LABEL_ALONE.fullmatch(plain(line)) or (not is_last and line.rstrip()[-1:] in ":："):
            continue
        text = _without_label(line)
        if text := _without_introduction(text):
            yield text


def _without_introduction(text: str) -> str:
    """What follows “Sure! Here is a title:”; empty if nothing does."""
    for pattern in (_INTRODUCTION, _INTERJECTION):
        beginning = pattern.match(text)
        if beginning is None:
            continue
        rest = _without_label(text[beginning.end() :])
        if has_form(_tidy(rest)) or (rest.strip() and not has_form(_tidy(text))):
            return rest
        if not rest.strip() and _announces_a_title(text):
            return text if _QUOTED.search(text) else ""
    return text


def _announces_a_title(line: str) -> bool:
    """True for “Here is a title:” and “Sure!”; “Great Wall of China” is a title."""
    return line.rstrip()[-1:] in ":：" or not has_form(_tidy(line))


def _without_label(line: str) -> str:
    text = without_tags(line).replace("*", "").replace("__", "")
    while (rest := _LABEL.sub("", text, count=1)) != text and rest.strip():
        # “Name of the Wind: Summary” begins like a label.
        if not (_STRONG_LABEL.match(text) or has_form(_tidy(rest))) and has_form(_tidy(text)):
            break
        text = rest
    return text


def _title_of_line(line: str) -> str | None:
    """The title in a line, cut if it has a few words too many."""
    text = _tidy(line)
    if has_form(text):
        return text
    quoted = (*_QUOTED.findall(line), *_SENTENCE_END.split(line)[:1])
    pieces = [_tidy(_without_label(piece)) for piece in quoted]
    if fitting := next((piece for piece in pieces if has_form(piece)), None):
        return fitting
    if is_spaceless(text):
        return _cut_spaceless(text)
    words = text.split()
    if len(words) < MIN_WORDS and not is_spaceless(text):
        words = _CAMEL.sub(" ", text.replace("_", " ")).split()
    if not MIN_WORDS <= len(words) <= MAX_REPAIRED_WORDS:
        return None
    if len(words) > MAX_WORDS and _STATEMENT.search(line):
        return None
    title = _tidy(" ".join(_without_loose_end(words)))
    return title if has_form(title) else None


def _tidy(text: str) -> str:
    """The text on one line, without markup, and without punctuation or pictures around it."""
    words = trimmed(plain(text)).split()
    while words and not any(map(str.isalnum, words[0])):
        words = words[1:]
    while words and not any(map(str.isalnum, words[-1])):
        words = words[:-1]
    return trimmed(" ".join(words))


def _without_loose_end(words: list[str]) -> list[str]:
    """The first five words, less those at the end that lead to the next one."""
    functional = function_words.of_message([word.casefold() for word in words])
    functional -= function_words.REQUESTS
    cut = len(words) > MAX_WORDS
    words = words[:MAX_WORDS]
    while cut and len(words) > MIN_WORDS and words[-1].casefold() in functional:
        words = words[:-1]
    return words


def _cut_spaceless(text: str) -> str | None:
    """The first clause of a text that is too long, if that has the form."""
    first = _tidy(_CLAUSE_CHARS.split(text)[0])
    return first if len(first) <= MAX_CHARS and has_form(first) else None


def _is_example(title: str, message: str) -> bool:
    """True if the title is one of our prompt's examples, and this message is not about that."""
    if title.casefold() not in {example.casefold() for _, example in EXAMPLES}:
        return False
    parts = {word for word in title.casefold().split() if len(word) > MIN_WORDS}
    if is_spaceless(title):
        parts = {title[start : start + 2] for start in range(len(title) - 1)}
    return not any(part in message.casefold() for part in parts)


def _repeats_one_word(title: str, message: str) -> bool:
    """True if the title repeats one word more often than its message does."""
    words = _WORD.findall(title.casefold())
    if " " not in title or len(set(words)) > 1:
        return False
    return _WORD.findall(message.casefold()).count(words[0]) < len(words)
