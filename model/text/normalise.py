"""Text to words and hashed pieces, the same for names, attributes and queries. Uses no vocabulary."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

LONGEST_WORD = 64  # characters; the rest of a longer run, such as base64, carries no meaning
GRAM_CHARACTERS = 322  # trigrams come from this many characters at the start of a text: 320 trigrams
_WORD = re.compile(r"\w+")
_APOSTROPHE = re.compile(r"(?<=\w)['’‘`](?=\w)")


def words(text: str) -> list[str]:
    """Lower-cased words of any script without accents or apostrophes, cut to `LONGEST_WORD` characters.

    >>> words("Amélie's  World: Part 2")
    ['amelies', 'world', 'part', '2']
    """
    return [word[:LONGEST_WORD] for word in _uncut_words(text)]


def _uncut_words(text: str) -> list[str]:
    text = _APOSTROPHE.sub("", text.casefold())
    if text.isascii():
        return _WORD.findall(text)
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")  # remove accents, keep vowel signs
    return _words_of_any_script(unicodedata.normalize("NFC", plain.casefold()))  # 𝐀 has no lower case before NFKD


def _words_of_any_script(text: str) -> list[str]:
    """Runs of letters, marks and digits: `\\w` alone would cut Indic words at their vowel signs."""
    if text.isascii():
        return _WORD.findall(text)
    return "".join(c if c == "_" or unicodedata.category(c)[0] in "LMN" else " " for c in text).split()


def normalise(text: str) -> str:
    """The words of a text joined by single spaces. Queries that differ only in case or punctuation become equal."""
    return " ".join(words(text))


def tokens_of_name(name: str) -> str:
    """A display name as a query: lower-cased words joined by spaces.

    >>> tokens_of_name("Toy Story 2")
    'toy story 2'
    """
    text = _APOSTROPHE.sub("", unicodedata.normalize("NFC", name.lower()))
    return " ".join(_words_of_any_script(text))


def trigrams(text_words: list[str]) -> set[str]:
    """Character trigrams of the words, joined and padded by spaces; of a long text, only those at its start.

    >>> sorted(trigrams(["up"]))
    [' up', 'up ']
    """
    padded = f" {' '.join(text_words)} "[:GRAM_CHARACTERS]
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


@lru_cache(maxsize=2**18)
def stable_hash(text: str) -> int:
    """A 32-bit hash that is the same in every process and Python version (`hash` is not)."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def pieces(text_words: list[str], character_grams: bool) -> Iterator[str]:
    """Words, word pairs and, if `character_grams`, character 3- to 5-grams of a text, for hashing."""
    yield from text_words
    for first, second in pairwise(text_words):
        yield f"{first} {second}"
    if character_grams:
        for word in text_words:
            marked = f"<{word}>"
            for size in (3, 4, 5):
                for start in range(len(marked) - size + 1):
                    yield f"#{marked[start : start + size]}"
