"""What callers show: a prefix, 32 random characters, and a checksum, `ckp_…` for a key.

The form is that of GitHub's tokens, which scanners recognise by prefix and checksum without asking
anybody: https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
Only a digest is stored. It is a plain SHA-256, because 190 random bits cannot be guessed: a slow
digest protects what people choose.
"""

import hashlib
import re
import secrets
import zlib
from enum import StrEnum

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM_CHARS, CHECKSUM_CHARS = 32, 6

_FORM = re.compile(rf"(ck[publ])_[0-9A-Za-z]{{{RANDOM_CHARS + CHECKSUM_CHARS}}}")


class Kind(StrEnum):
    """What a secret is for; the value is its prefix."""

    KEY = "ckp"
    USER = "cku"
    BROWSER = "ckb"
    LOCAL = "ckl"


def new_secret(kind: Kind) -> str:
    """Make a secret from the system's randomness."""
    body = f"{kind}_" + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARS))
    return body + _checksum(body)


def kind_of(secret: str) -> Kind | None:
    """Return the kind of a secret; `None` for what is none, or was copied incompletely."""
    if (
        not _FORM.fullmatch(secret)
        or _checksum(secret[:-CHECKSUM_CHARS]) != secret[-CHECKSUM_CHARS:]
    ):
        return None
    return Kind(secret[:3])


def digest(secret: str) -> bytes:
    """Return what is stored of a secret: 32 bytes, from which it cannot be found."""
    return hashlib.sha256(secret.encode()).digest()


def hint(secret: str) -> str:
    """Return what people may see of a secret, to tell it from others: `ckp_…x7Qz`."""
    return f"{secret[:4]}…{secret[-4:]}"


def _checksum(body: str) -> str:
    number, characters = zlib.crc32(body.encode()), []
    for _ in range(CHECKSUM_CHARS):
        number, rest = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[rest])
    return "".join(reversed(characters))
