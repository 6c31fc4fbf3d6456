"""Other ways to type a name: its words joined, its initials as one word, its numbers in another notation.

A record has these beside the words of its name, so a query needs no dictionary of them. Slips of the finger are not
here: `corrections.py` mends those in the query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

LONGEST_JOINED = 24  # characters
NAME_WORDS = 16  # words of a name that are typed in other ways; what follows is rarely typed at all
MOST = 8 * NAME_WORDS  # spellings of a name
ROMAN = (
    "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi", "xvii",
    "xviii", "xix", "xx",
)  # fmt: skip
IN_WORDS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
TENS = ("thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NUMBERS = {
    **{word: number for number, word in enumerate(IN_WORDS, 1)},
    **{word: 10 * number for number, word in enumerate(TENS, 3)},
    **{roman: number for number, roman in enumerate(ROMAN, 1)},
}
BEFORE_ONE = ("part", "episode", "chapter", "volume", "vol", "book", "season")  # "I" after these is a number
_LETTERS_AND_DIGITS = re.compile(r"[^\W\d]+|\d+")


def spellings(words: Sequence[str]) -> list[str]:
    """Words by which a name is typed, too, without those that it has.

    >>> spellings(["rocky", "ii"])
    ['rockyii', '2', 'two']
    >>> spellings(["s", "w", "a", "t"]), spellings(["alien3"]), spellings(["twelve", "monkeys"])
    (['swat'], ['alien', '3', 'iii', 'three'], ['twelvemonkeys', '12', 'xii'])
    """
    words = words[:NAME_WORDS]
    parts = _split(words)
    found = [*_joined(words), *parts, *_numbers([*words, *parts])]
    return [word for word in dict.fromkeys(found) if word not in words][:MOST]


def runs_of_letters(words: Sequence[str]) -> Iterator[tuple[bool, list[str]]]:
    """The words in runs: of single letters (True), or of others.

    >>> list(runs_of_letters(["the", "s", "w"]))
    [(False, ['the']), (True, ['s', 'w'])]
    """
    for letters, run in groupby(words, key=lambda word: len(word) == 1 and word.isalpha()):
        yield letters, list(run)


def _joined(words: Sequence[str]) -> Iterator[str]:
    """Neighbouring words without the blank; letters that follow each other, such as initials, are one word first."""
    merged: list[str] = []
    for letters, run in runs_of_letters(words):
        merged += ["".join(run)] if letters else run
        if letters and len(run) > 1:
            yield merged[-1]
    yield from (first + second for first, second in pairwise(merged) if len(first) + len(second) <= LONGEST_JOINED)


def _split(words: Sequence[str]) -> list[str]:
    """The letters and the digits of words that have both."""
    mixed = [_LETTERS_AND_DIGITS.findall(word) for word in words if not word.isalpha() and not word.isdigit()]
    return [part for parts in mixed if len(parts) > 1 for part in parts]


def _numbers(words: Sequence[str]) -> Iterator[str]:
    """The other notations of each number: digits, Roman, in words."""
    for place, word in enumerate(words):
        number = int(word) if word.isdecimal() and len(word) < 3 else NUMBERS.get(word)
        if not number or (len(word) == 1 and word.isalpha() and not _is_number(words, place)):
            continue
        yield str(number)
        if number <= len(ROMAN):
            yield ROMAN[number - 1]
            yield IN_WORDS[number - 1]
        elif number % 10 == 0 and number // 10 - 3 < len(TENS):
            yield TENS[number // 10 - 3]


def _is_number(words: Sequence[str], place: int) -> bool:
    """Whether a letter that is a Roman digit, too, stands where names have numbers: not first; "I" after "part"."""
    return place > 0 and (words[place] != "i" or words[place - 1] in BEFORE_ONE)
