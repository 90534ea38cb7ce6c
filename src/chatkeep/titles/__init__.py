"""Titles of sessions: what a model is asked, its answer made a title, the message's own words.

Pure: no clock, no I/O, no model.
"""

from chatkeep.titles.answers import title_from_answer
from chatkeep.titles.prompts import choice_prompt, title_prompt
from chatkeep.titles.provisional import provisional_title
from chatkeep.titles.words import READ_CHARS

__all__ = [
    "READ_CHARS",
    "choice_prompt",
    "provisional_title",
    "title_from_answer",
    "title_prompt",
]
