"""Titles of sessions: the prompt, the title in its answer, and titles of a message's own words.

What is exported here is pure: no clock, no I/O, no model. `calls` calls the model.
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
