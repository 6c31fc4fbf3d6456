"""What a query and an entity have in common, each feature by a catalogue in which the answer can be read off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_catalogue import ENTITIES, HEAT, SPACE, TOY_SOLDIERS, TOY_STORY, UP, computed, features, matcher

from model.features.query import STEM_SHARE, stem_of
from model.text.normalise import words


def test_a_name_as_query_covers_that_name_alone() -> None:
    made = features("toy story")
    assert made["query_in_display_name"][TOY_STORY] == pytest.approx(1)
    assert made["exact_in_name"][TOY_STORY] == pytest.approx(1)
    assert made["name_in_query"][TOY_STORY] == pytest.approx(1)
    assert made["whole_query_in_name"].tolist() == [1, 0, 0, 0, 0, 0]
    assert made["whole_name_in_query"].tolist() == [1, 0, 0, 0, 0, 0]
    assert made["unexplained_words"].tolist() == [0, 1, 1, 2, 2, 2]


def test_coverage_weighs_words_by_their_idf() -> None:
    made = features("toy story")
    toy, story = (matcher().encoder.vocabulary.weight(word) for word in ("toy", "story"))
    # "toys" is another word; the last word, "story", covers itself in the text of Heat
    assert made["query_in_display_name"][TOY_SOLDIERS] == pytest.approx(toy / (toy + story))
    assert made["query_in_about"][HEAT] == pytest.approx(story / (toy + story))
    assert made["in_any_field"][HEAT] == pytest.approx(story / (toy + story))
    assert made["query_in_display_name"][HEAT] == 0


def test_the_last_word_counts_as_a_prefix() -> None:
    made = features("toy so")
    assert made["query_in_display_name"][TOY_SOLDIERS] == pytest.approx(1)
    assert made["whole_query_in_name"].tolist() == [0, 1, 0, 0, 0, 0]
    assert made["exact_in_name"][TOY_SOLDIERS] < 1
    assert made["unexplained_words"][TOY_SOLDIERS] == 0


def test_only_the_last_word_counts_as_a_prefix() -> None:
    made = features("so toy")
    assert made["query_in_display_name"][TOY_SOLDIERS] < 1
    assert made["unexplained_words"][TOY_SOLDIERS] == 1


def test_a_prefix_is_found_in_every_field() -> None:
    made = features("cri")
    assert made["query_in_genres"].tolist() == pytest.approx([0, 0, 1, 0, 0, 1])
    assert made["query_in_display_name"].tolist() == [0] * 6


def test_a_prefix_counts_although_another_word_of_the_query_starts_with_it() -> None:
    """ "story sto": somebody has typed one word and begins the next; "sto" is the beginning of "story"."""
    assert features("sto")["unexplained_words"][TOY_STORY] == 0
    assert features("toy sto")["unexplained_words"][TOY_STORY] == 0
    assert features("story sto")["unexplained_words"][TOY_STORY] == 0


def test_the_name_lies_within_a_longer_query() -> None:
    made = features("the film heat with cops")
    assert made["name_in_query"][HEAT] == pytest.approx(1)
    assert made["whole_name_in_query"].tolist() == [0, 0, 1, 0, 0, 0]
    assert made["whole_query_in_name"].tolist() == [0] * 6


def test_half_a_name_lies_in_the_query_by_weight() -> None:
    toy, soldiers = (matcher().encoder.vocabulary.weight(word) for word in ("toy", "soldiers"))
    assert features("soldiers")["name_in_query"][TOY_SOLDIERS] == pytest.approx(soldiers / (toy + soldiers))


def test_a_word_of_the_same_stem_covers_half() -> None:
    made = features("soldiering toy")
    soldiering, toy = (matcher().encoder.vocabulary.weight(word) for word in ("soldiering", "toy"))
    assert made["query_in_display_name"][TOY_SOLDIERS] == pytest.approx(
        (STEM_SHARE * soldiering + toy) / (soldiering + toy)
    )
    assert made["rarest_unexplained"][TOY_SOLDIERS] == 0
    assert made["rarest_unexplained"][TOY_STORY] == pytest.approx(1)  # the catalogue does not know "soldiering"
    assert made["exact_in_name"][TOY_SOLDIERS] == made["exact_in_name"][TOY_STORY]
    assert made["whole_query_in_name"].tolist() == [0] * 6
    assert features("criminal")["query_in_genres"][HEAT] == 0  # "crimi" is no beginning of "crime"


def test_a_word_beside_its_own_stem_counts_once() -> None:
    assert features("story stories")["query_in_display_name"].max() <= 1
    assert features("stories story")["query_in_display_name"][TOY_STORY] < 1  # "story" is taken by itself


@pytest.mark.parametrize(("word", "stem"), [("comedies", "comed"), ("robots", "robo"), ("toys", None), ("1995a", None)])
def test_stems(word: str, stem: str | None) -> None:
    assert stem_of(word) == stem


def test_a_query_lies_in_one_list_whatever_wording_is_around_it() -> None:
    for query in ("action", "films of action", "actions for you"):
        assert features(query)["query_in_one_list"].tolist() == [0, 1, 1, 0, 0, 0], query
    assert 0 < features("crime animation")["query_in_one_list"].max() < 1
    assert features("toy")["query_in_one_list"].max() == 0  # names and texts are no lists


def test_a_year_is_a_word() -> None:
    made = features("1995")
    assert made["query_in_numbers"].tolist() == pytest.approx([1, 0, 1, 0, 0, 0])
    assert made["in_any_field"].tolist() == pytest.approx([1, 0, 1, 0, 0, 0])
    assert features("2001")["query_in_display_name"][SPACE] == pytest.approx(1)
    assert features("12")["query_in_numbers"].tolist() == [0] * 6  # no year


def test_the_rarest_unexplained_word() -> None:
    made = features("heat zzz")
    assert made["rarest_unexplained"].tolist() == pytest.approx([1] * 6)  # zzz is unknown: as rare as the rarest
    assert features("toy")["rarest_unexplained"][TOY_STORY] == 0
    weight = matcher().encoder.vocabulary.weight("toy") / matcher().encoder.vocabulary.unknown_idf
    assert features("toy")["rarest_unexplained"][HEAT] == pytest.approx(weight)


def test_dice_of_trigrams_by_hand() -> None:
    made = features("toy stories")
    # " toy stories " has 11 distinct trigrams, " toy story " 9; in common: " to" "toy" "oy " "y s" " st" "sto" "tor"
    assert made["name_dice"][TOY_STORY] == pytest.approx(2 * 7 / (11 + 9))
    assert made["grams_in_name"][TOY_STORY] == pytest.approx(7 / 11)
    assert made["name_in_grams"][TOY_STORY] == pytest.approx(7 / 9)
    assert features("toy story")["name_dice"][TOY_STORY] == pytest.approx(1)
    assert features("toy story")["name_dice"][UP] == 0


def test_text_is_nearest_to_the_entity_of_the_query() -> None:
    assert int(np.argmax(features("heat")["query_text"])) == HEAT


@pytest.mark.parametrize("query", [None, "", "   ", "?!", "🎬"])
def test_a_query_without_words_gives_zeros(query: str | None) -> None:
    made = features(query)
    for name, values in made.items():
        if name.startswith("query_") or name in (
            "name_dice",
            "exact_in_name",
            "unexplained_words",
            "whole_query_in_name",
        ):
            assert not values.any(), name


def test_case_accents_and_punctuation_do_not_matter() -> None:
    assert np.array_equal(computed("TÓY, story!"), computed("toy story"))


def test_a_query_of_very_many_words() -> None:
    made = features(" ".join(f"w{i}" for i in range(500)) + " heat")
    assert np.isfinite(np.stack(list(made.values()))).all()


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_query_gives_finite_features(query: str) -> None:
    table = computed(query)
    assert np.isfinite(table).all()
    assert (table[:, : len(matcher().encoder.fields)] <= 1 + 1e-5).all()


SOME_WORDS = ["toy", "toys", "to", "story", "sto", "so", "heat", "he", "2001", "1995", "crime", "a", "zzz", "u"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(SOME_WORDS), min_size=1, max_size=4, unique=True))
def test_coverage_of_the_name_is_what_the_definition_says(query: list[str]) -> None:
    """Every word that the name holds, and the last one also as the beginning of a word of the name."""
    if any(word.startswith(query[-1]) for word in query[:-1]):
        return  # has a test of its own
    if matcher().encode_query(" ".join(query)).corrected:
        return
    weights = np.array([matcher().encoder.vocabulary.weight(word) for word in query])
    made = features(" ".join(query))["query_in_display_name"]
    for row, entity in enumerate(ENTITIES):
        name = words(str(entity["display_name"]))
        held = [word in name for word in query]
        held[-1] = any(word.startswith(query[-1]) for word in name)
        assert made[row] == pytest.approx(float(weights @ held / weights.sum()), abs=1e-5)
