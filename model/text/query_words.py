"""The words of a query as the catalogue has them: what is joined or misspelled is mended, and the answer says so.

Only words that the catalogue lacks are corrected, so a name that it has is found as it is typed.
"""

from __future__ import annotations

from dataclasses import dataclass

from model.text.corrections import Corrections
from model.text.normalise import words
from model.text.spellings import runs_of_letters
from model.text.vocabulary import Vocabulary

MAX_QUERY_WORDS = 24
SHORTEST_JOINED = 6  # letters: of shorter words, such as "a way", too many are two


@dataclass(frozen=True, slots=True)
class QueryWords:
    """Words in the order of the query; `others`: of each word, further words that it may mean."""

    words: tuple[str, ...]
    others: tuple[tuple[str, ...], ...]
    corrected: tuple[tuple[str, str], ...] = ()  # typed, meant
    joined: tuple[str, ...] = ()


def query_words(text: str, vocabulary: Vocabulary, corrections: Corrections) -> QueryWords:
    """Read a query, at most its last `MAX_QUERY_WORDS` words."""
    typed, joined = _join(words(text)[-MAX_QUERY_WORDS:], vocabulary)
    read: list[str] = []
    others: list[tuple[str, ...]] = []
    corrected = []
    for place, word in enumerate(typed):
        known = _is_known(word, vocabulary, last=place == len(typed) - 1)
        meant, *further = [word] if known else corrections.of_word(word, vocabulary.entries) or [word]
        read.append(meant)
        others.append(tuple(further))
        corrected += [(word, meant)] if meant != word else []
    return QueryWords(tuple(read), tuple(others), tuple(corrected), tuple(joined))


def _is_known(word: str, vocabulary: Vocabulary, last: bool) -> bool:
    """Whether the catalogue has the word, a name is typed so, or the last word begins one."""
    known = vocabulary.has(word) or vocabulary.spelling_id(word) is not None
    start, end = vocabulary.typed_range(word)
    return known or (last and start < end)


def _join(typed: list[str], vocabulary: Vocabulary) -> tuple[list[str], list[str]]:
    """Neighbouring words that the catalogue only has as one: "sea biscuit" and "s w a t", but not "iron man"."""
    result: list[str] = []
    joined = []
    for letters, run in runs_of_letters(typed):
        word = "".join(run)
        if letters and len(run) > 1 and vocabulary.has(word):
            result.append(word)
            joined.append(word)
        else:
            for single in run:
                _append(single, result, joined, vocabulary)
    return result, joined


def _append(word: str, result: list[str], joined: list[str], vocabulary: Vocabulary) -> None:
    """Append a word, as one with the word before it if the catalogue only has both together."""
    both = result[-1] + word if result else ""
    apart = min(len(word), len(both) - len(word)) < 2 or vocabulary.spelling_id(both) is not None
    if len(both) >= SHORTEST_JOINED and not apart and vocabulary.has(both):
        result[-1] = both
        joined.append(both)
    else:
        result.append(word)
