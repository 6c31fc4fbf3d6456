"""Text to words and hashed pieces, the same for names, attributes and queries. Uses no vocabulary.

What people cannot type, or type in several ways, is folded: case, accents, width, letters such as ł and ø, marks of
Arabic and Hebrew, apostrophes, characters that only format. Display names stay as they are.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from anyascii import anyascii

LONGEST_WORD = 64  # characters; the rest of a longer run, such as base64, carries no meaning
GRAM_CHARACTERS = 322  # trigrams come from this many characters at the start of a text: 320 trigrams
_SYMBOLS = r"{start}{letter}{{1,2}}[+#]+(?!{letter})|(?<![.]){start}\.[^\W\d_]{{2,4}}(?!{letter})|{letter}+"
_WORD = re.compile(_SYMBOLS.format(start=r"(?<!\w)", letter=r"\w"))  # also c++, c#, .net
_RUN = re.compile(_SYMBOLS.format(start=r"(?<![^\s+#.])", letter=r"[^\s+#.]"))  # the same, where marks are letters
_APOSTROPHE = re.compile(r"(?<=\w)['’‘`´′＇](?=\w)|[ʻʼʹ]")
_INITIALS = re.compile(r"(?<![\w.])(?:[^\W\d_]\.){2,}(?:[^\W\d_](?!\w))?")
_NO_LETTERS = str.maketrans(dict.fromkeys("™℠®©", " "))
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]")  # no vowel signs
_UNSPACED = re.compile(  # runs of scripts that put no blank between words: Han, kana, Thai, Lao, Burmese, Khmer
    "[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)


def words(text: str) -> list[str]:
    """Lower-cased words of any script without accents or apostrophes, cut to `LONGEST_WORD` characters.

    A run of a script without blanks gives its pairs of characters, so that a part of a name finds it.

    >>> words("Amélie's  World: Part 2"), words("Człowiek, C++"), words("七人の侍")
    (['amelies', 'world', 'part', '2'], ['czlowiek', 'c++'], ['七人', '人の', 'の侍'])
    """
    text = _typed(text.casefold())
    if text.isascii():
        return [word[:LONGEST_WORD] for word in _WORD.findall(text)]
    runs = _runs("".join(map(_folded, _plain(text))))
    return [word[:LONGEST_WORD] for run in runs for word in _segments(run)]


def _typed(text: str) -> str:
    """Text without apostrophes, and initials as people type them: s.w.a.t. as swat."""
    return _INITIALS.sub(lambda found: found.group().replace(".", "") + " ", _APOSTROPHE.sub("", text))


def _plain(text: str) -> str:
    """Text without accents and in one width. Vowel signs stay."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_NO_LETTERS))
    return unicodedata.normalize("NFC", _MARKS.sub("", decomposed).casefold())  # 𝐀 has no lower case before NFKD


def _folded(character: str) -> str:
    """A Latin letter without a decomposition as those that people type for it; nothing for what only formats."""
    if unicodedata.category(character) == "Cf":
        return ""
    latin = "\u0080" <= character <= "\u024f" or "\u1e00" <= character <= "\u1eff"
    return anyascii(character).lower() if latin and character.isalpha() else character


def _runs(text: str) -> list[str]:
    """Runs of letters, marks and digits: `\\w` alone would cut Indic words at their vowel signs."""
    if text.isascii():
        return _WORD.findall(text)
    return _RUN.findall("".join(c if c in "_+#." or unicodedata.category(c)[0] in "LMN" else " " for c in text))


def _segments(run: str) -> Iterator[str]:
    """A run as words: itself, or, where its script has no blanks, each pair of neighbouring characters."""
    end = 0
    for unspaced in _UNSPACED.finditer(run):
        if unspaced.start() > end:
            yield run[end : unspaced.start()]
        letters = _with_their_marks(unspaced.group())
        yield from (first + second for first, second in pairwise(letters)) if len(letters) > 1 else letters
        end = unspaced.end()
    if end < len(run):
        yield run[end:]


def _with_their_marks(run: str) -> list[str]:
    """The letters of a run, each with the marks that follow it."""
    letters: list[str] = []
    for character in run:
        if letters and unicodedata.category(character)[0] == "M":
            letters[-1] += character
        else:
            letters.append(character)
    return letters


def normalise(text: str) -> str:
    """The words of a text joined by single spaces. Queries that differ only in case or punctuation become equal."""
    return " ".join(words(text))


def tokens_of_name(name: str) -> str:
    """A display name as a query: lower-cased words joined by spaces.

    >>> tokens_of_name("Toy Story 2")
    'toy story 2'
    """
    text = unicodedata.normalize("NFKC", _typed(name.lower()).translate(_NO_LETTERS))
    return " ".join(_runs("".join(c for c in text if unicodedata.category(c) != "Cf")))


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
