"""The rule of a title, on whatever a model or a user may write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep import titles
from tests.titlerule import broken_rules

NOON = 1_764_000_000_000_000
MESSAGES = st.one_of(
    st.text(min_size=1, max_size=200),
    st.lists(
        st.sampled_from(
            [
                "the",
                "Ärger",
                "Hi!",
                "TypeScript",
                "1.",
                "の型エラーを直す方法",
                "«mot»",
                "C++",
                "日本",
                "ไทย",
                "‍",
                "😀",
                "a_b",
                "\n",
                ":",
                "title:",
                "#",
                "-",
            ]
        ),
        min_size=1,
        max_size=12,
    ).map(" ".join),
).filter(lambda text: bool(text.strip()))


@given(MESSAGES)
def test_the_fallback_of_any_message_keeps_the_rule(message: str) -> None:
    assert broken_rules(titles.fallback(message, NOON)) == []


@given(answer=MESSAGES, message=MESSAGES)
def test_a_title_taken_from_any_answer_keeps_the_rule(answer: str, message: str) -> None:
    title = titles.from_model(answer, message)
    assert title is None or broken_rules(title) == []


@given(MESSAGES)
def test_an_answer_that_repeats_the_message_keeps_the_rule_too(message: str) -> None:
    title = titles.from_model(message, message)
    assert title is None or broken_rules(title) == []


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("What is the capital of France?", "Capital of France"),
        ("How do I center a div in CSS?", "Center a div in CSS"),
        ("I'm stuck. My server crashes on large uploads", "Server crashes on large uploads"),
        ("Explain C++ vs C#", "Explain C++ vs C#"),
        ("hi", "Hi 2025-11-24 16:00"),
        ("see https://www.example.com/garden/tools?x=1", "See example.com garden tools x"),
        ("フランスの首都はどこですか？教えて", "フランスの首都はどこですか"),
        ("嗨", "嗨2025-11-24"),
        ("🎉", "🎉 2025-11-24 16:00"),
        ("Hi! 日本の首都はどこですか", "日本の首都はどこですか"),
        ("1. 日本語で教えてください", "日本語で教えてください"),
        ("TypeScript の型エラーを直す方法を教えてください", "の型エラーを直す方法を教えてくだ"),
    ],
)
def test_the_fallback_is_made_of_the_messages_own_words(message: str, title: str) -> None:
    assert titles.fallback(message, NOON) == title


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Sorting Lists in Python", "Sorting Lists in Python"),
        ('Title: "Sorting Lists in Python."', "Sorting Lists in Python"),
        ("**Sorting** lists\tin   Python!", "Sorting lists in Python"),
        (
            "<think>They want a title.</think>\n\nPython List Sorting\nMore text",
            "Python List Sorting",
        ),
        ("How to sort a list in Python", "How to sort a list"),
        ("Python\u202e Sorting\u0007 Lists", "Python Sorting Lists"),
    ],
)
def test_an_answer_is_repaired(answer: str, title: str) -> None:
    assert titles.from_model(answer, "How can I sort a list in Python?") == title


@pytest.mark.parametrize(
    "answer",
    [
        "Python",
        "",
        "Yellow Bananas Are Tasty",
        "To sort a list in Python you can call its sort method, or the function sorted.",
        "Sort Sort Sort",
        "列表排序方法",
    ],
)
def test_what_is_no_title_of_the_message_is_refused(answer: str) -> None:
    assert titles.from_model(answer, "How can I sort a list in Python?") is None


def test_a_message_without_content_takes_any_title_of_its_script() -> None:
    assert titles.from_model("Friendly Greeting Exchange", "hi") == "Friendly Greeting Exchange"
    assert titles.from_model("Дружеское приветствие друзей", "hi") is None


def test_a_small_models_words_must_be_the_messages() -> None:
    said = "How can I sort a list in Python?"
    assert titles.from_model("Sorting Lists in Python", said, small_model=True) is None
    assert titles.from_model("Sort List in Python", said, small_model=True) == "Sort List in Python"
