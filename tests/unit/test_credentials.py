"""Secrets: their form, their checksum, and what is stored of them."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatkeep.access.credentials import ALPHABET, Kind, digest, hint, kind_of, new_secret

SCANNER = re.compile(r"\bck[publ]_[0-9A-Za-z]{38}\b")
"""What finds them in a text."""


@pytest.mark.parametrize("kind", Kind)
def test_a_secret_has_the_form_that_scanners_look_for(kind: Kind) -> None:
    secrets = {new_secret(kind) for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert SCANNER.fullmatch(secret)
        assert kind_of(secret) is kind
        assert secret[4:-4] not in hint(secret)
        assert len(digest(secret)) == 32


@given(st.integers(4, 41), st.sampled_from(ALPHABET))
def test_a_secret_with_another_character_is_none(position: int, character: str) -> None:
    secret = new_secret(Kind.KEY)
    changed = secret[:position] + character + secret[position + 1 :]
    assert (kind_of(changed) is None) == (changed != secret)


@given(st.text(string.printable, max_size=60))
def test_any_other_text_is_none(text: str) -> None:
    assert kind_of(text) is None
