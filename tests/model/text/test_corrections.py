"""A word that the catalogue lacks is mended if one slip explains it; a word that it has never is."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from model.text.corrections import MOST, SHORTEST, Corrections
from model.text.query_words import query_words
from model.text.vocabulary import SPELLING, Vocabulary

NAMES = ["the matrix", "martin", "inception", "casablanca", "seabiscuit", "iron man", "ironman", "gladiator", "ted"]
LETTERS = st.text("abc", min_size=1, max_size=6)


def vocabulary_of(names: list[str]) -> Vocabulary:
    joined = [[SPELLING + "".join(name.split())] if " " in name else [] for name in names]
    return Vocabulary.of([*name.split(), *others] for name, others in zip(names, joined, strict=True))


VOCABULARY = vocabulary_of([*NAMES, "the martin", "martin"])
FIRST = VOCABULARY.first_word
COUNTS = np.where(np.arange(len(VOCABULARY)) < FIRST, 0.0, 1 / np.expm1(VOCABULARY.idf))
CORRECTIONS = Corrections.of(VOCABULARY.entries, COUNTS)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("martix", "matrix"),  # neighbours that changed places, although more have a Martin
        ("incpetion", "inception"),
        ("inceptoin", "inception"),
        ("gladator", "gladiator"),
        ("gladiatorr", "gladiator"),
        ("xasablanca", "casablanca"),
        ("asablanca", "casablanca"),
        ("teh", "the"),
    ],
)
def test_one_slip_is_mended(typed: str, meant: str) -> None:
    read = query_words(f"{typed} again", VOCABULARY, CORRECTIONS)
    assert read.words[0] == meant
    assert read.corrected == ((typed, meant),)


@pytest.mark.parametrize("typed", ["inception", "iron", "ironman", "xyz", "tex", "incxxtion", "12345", "?!", ""])
def test_known_words_short_ones_and_two_slips_stay(typed: str) -> None:
    read = query_words(typed, VOCABULARY, CORRECTIONS)
    assert read.corrected == ()
    assert " ".join(read.words) == typed.strip("?!")


def test_the_beginning_of_a_word_is_no_slip_where_it_is_typed_last() -> None:
    assert query_words("the incep", VOCABULARY, CORRECTIONS).corrected == ()
    assert query_words("casablanc", VOCABULARY, CORRECTIONS).corrected == ()
    assert query_words("casablanc man", VOCABULARY, CORRECTIONS).corrected == (("casablanc", "casablanca"),)


def test_words_are_joined_where_no_name_has_them_apart() -> None:
    assert query_words("sea biscuit", VOCABULARY, CORRECTIONS).words == ("seabiscuit",)
    assert query_words("sea biscuit", VOCABULARY, CORRECTIONS).joined == ("seabiscuit",)
    assert query_words("iron man", VOCABULARY, CORRECTIONS).words == ("iron", "man")
    assert query_words("a way off", vocabulary_of(["away", "wayoff"]), Corrections.none()).words == ("a", "wayoff")
    assert query_words("finds a way", vocabulary_of(["away", "finds way"]), Corrections.none()).joined == ()


@settings(deadline=None)
@given(st.lists(LETTERS, min_size=1, max_size=8, unique=True), LETTERS)
def test_exactly_the_words_one_slip_away_are_found(known: list[str], typed: str) -> None:
    known = sorted(known)
    found = Corrections.of(known, np.ones(len(known))).of_word(typed, known)
    near = {
        word
        for word in known
        if OSA.distance(word, typed) == 1
        and (min(len(word), len(typed)) > SHORTEST or sorted(word) == sorted(typed))
        and len(typed) >= SHORTEST
    }
    assert set(found) <= near
    assert bool(found) == bool(near)
    assert len(found) <= MOST


def test_of_several_the_likelier_comes_first() -> None:
    known = sorted(["cart", "card", "care", *string.ascii_lowercase])
    counts = np.array([{"card": 20.0, "cart": 9.0}.get(word, 1.0) for word in known])
    assert Corrections.of(known, counts).of_word("carx", known) == ["card", "cart"]  # "care" is too rare to be meant
    assert Corrections.of(known, counts).of_word("crat", known) == ["cart"]


def test_single_letters_are_initials_where_the_catalogue_has_them() -> None:
    vocabulary = vocabulary_of(["swat", "heat"])
    none = Corrections.none()
    assert query_words("s w a t team", vocabulary, none).words == ("swat", "team")
    assert query_words("h e a", vocabulary, none).words == ("h", "e", "a")
