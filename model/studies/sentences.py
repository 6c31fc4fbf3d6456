"""Thirty well-known films, described as by a user who has forgotten the name. A protocol, not training data.

Written before any model was evaluated, from memory, not from the catalogue's texts. Only the film meant is relevant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model.context.context import SEARCH, Context
from model.events.timelines import NO_TIME, LabelledRanking

LEAST_FILMS = 10  # with fewer of them, a catalogue is not one of films
DESCRIBED: tuple[tuple[str, int, str], ...] = (
    ("Groundhog Day", 1993, "a grumpy weatherman wakes up to the same day again and again in a small town"),
    ("The Matrix", 1999, "a hacker finds out that the world is a computer simulation run by machines"),
    ("Memento", 2000, "a man who cannot make new memories hunts his wife's killer with notes and tattoos"),
    ("Finding Nemo", 2003, "a clownfish crosses the ocean to find his lost son"),
    ("Jurassic Park", 1993, "dinosaurs brought back by cloning escape in a theme park on an island"),
    ("Titanic", 1997, "a poor artist and a rich girl fall in love on a ship that sinks"),
    ("The Truman Show", 1998, "a man discovers that his whole life is a television show"),
    ("Cast Away", 2000, "a delivery company man is stranded alone on an island after a plane crash"),
    ("Home Alone", 1990, "a boy forgotten by his family at christmas defends the house against burglars"),
    ("Up", 2009, "an old man flies his house away with balloons and a boy scout on board"),
    ("Inception", 2010, "thieves enter dreams to plant an idea in somebody's mind"),
    ("The Sixth Sense", 1999, "a child psychologist helps a boy who sees dead people"),
    ("Jaws", 1975, "a police chief hunts a huge shark that attacks swimmers at a beach town"),
    ("Ratatouille", 2007, "a rat who wants to become a chef in a paris restaurant"),
    ("The Martian", 2015, "an astronaut left behind on mars grows potatoes to survive"),
    ("Back to the Future", 1985, "a teenager travels back in time in a car and meets his parents when they were young"),
    ("The Shining", 1980, "a writer goes mad while looking after an empty hotel in the winter"),
    ("Black Swan", 2010, "a ballet dancer loses her mind over the leading role in swan lake"),
    ("Whiplash", 2014, "a young drummer is pushed to the limit by a cruel music teacher"),
    ("The Social Network", 2010, "the students who founded facebook sue each other"),
    ("Big", 1988, "a boy makes a wish and wakes up as a grown man who works for a toy company"),
    ("Gravity", 2013, "two astronauts drift in space after debris destroys their shuttle"),
    ("The Terminal", 2004, "a traveller without a country has to live in a new york airport"),
    ("Catch Me If You Can", 2002, "a young con man pretends to be a pilot and a doctor while an fbi agent chases him"),
    ("Rain Man", 1988, "a selfish salesman takes a road trip with his autistic brother"),
    ("Misery", 1990, "a novelist is held captive by his biggest fan after a car accident"),
    ("Speed", 1994, "a bus will explode if it slows down"),
    ("Life of Pi", 2012, "a boy survives a shipwreck in a lifeboat with a tiger"),
    ("Coco", 2017, "a boy who loves music enters the land of the dead to find his ancestor"),
    ("Mrs. Doubtfire", 1993, "a divorced father dresses up as a nanny to be near his children"),
)


def sentence_searches(entities: Sequence[Mapping[str, object]]) -> list[LabelledRanking]:
    """One search per description, over the catalogue; none if the catalogue has too few of the films."""
    ids = {(str(e["display_name"]), e.get("year")): str(e["entity_id"]) for e in entities}
    known = [(ids[name, year], sentence) for name, year, sentence in DESCRIBED if (name, year) in ids]
    return [_ranking(entity, sentence) for entity, sentence in known] if len(known) >= LEAST_FILMS else []


def _ranking(entity: str, sentence: str) -> LabelledRanking:
    return LabelledRanking(Context(task=SEARCH, query=sentence), (entity,), np.ones(1), np.full(1, NO_TIME), False)
