"""Contexts as tensors: padded as alone, flags that say what is there, at most the newest events."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent
from model.network.collate import EncodedContext, collate
from model.network.inputs import serving_batch
from model.network.ranker import MISSING


def encoded_contexts(artefact: Artefact) -> list[EncodedContext]:
    catalogue = artefact.catalogue
    histories = [tuple(HistoryEvent(f"e{i}", float(i % 3 > 0), SEARCH, i) for i in range(n)) for n in (0, 1, 4, 30)]
    raw = [Context(HOMEPAGE, "u1", history=history) for history in histories]
    raw += [Context(SEARCH, query="heat"), Context(MORE_LIKE_THIS, source_entity_id="e5", country="US")]
    return [catalogue.encode_context(catalogue.fill(context)) for context in raw]


@torch.inference_mode()
def test_contexts_collated_with_padding_score_as_each_alone(artefact: Artefact) -> None:
    scorer, records = artefact.scorer, artefact.catalogue.records.take(np.arange(20))
    width, length = scorer.config.width, scorer.config.history_length
    encoded = encoded_contexts(artefact)
    single = [serving_batch(context, width, length, torch.device("cpu")) for context in encoded]
    longest = max(batch.present.shape[1] for batch in single)
    assert longest == length

    def padded(name: str) -> Tensor:
        rows = [getattr(batch, name)[0] for batch in single]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    together = collate(
        encoded, torch.cat([b.source for b in single]), padded("history"), padded("kinds"), padded("present")
    )
    features = torch.stack([torch.from_numpy(scorer.matcher(c.query, c.source, c.profile, records)) for c in encoded])
    vectors = torch.from_numpy(records.vector)[None].expand(len(encoded), -1, -1)
    logits = scorer.ranker.score(together, vectors, features)
    for row, context in enumerate(encoded):
        np.testing.assert_allclose(scorer.logits(context, records), logits[row].numpy(), atol=1e-5)


def test_missing_flags_say_what_is_there_and_what_was_imputed(artefact: Artefact) -> None:
    def flags(context: Context) -> dict[str, float]:
        filled = artefact.catalogue.fill(context)
        return dict(zip(MISSING, artefact.catalogue.encode_context(filled).missing, strict=True))

    assert not any(flags(Context(SEARCH)).values())
    typed = flags(Context(SEARCH, "u1", "heat", "US", "e1", (HistoryEvent("e2"),)))
    assert [name for name, flag in typed.items() if flag] == ["query", "source", "user", "country", "history"]
    imputed = flags(Context(HOMEPAGE, history=(HistoryEvent("e2"),)))
    assert [name for name, flag in imputed.items() if flag] == [
        "query", "query_imputed", "source", "source_imputed", "history",
    ]  # fmt: skip
    assert not any(flags(Context(SEARCH, "a stranger", None, "XX", "unknown", (HistoryEvent("unknown"),))).values())


def test_at_most_the_newest_events_are_read(artefact: Artefact) -> None:
    length = artefact.scorer.config.history_length
    events = tuple(HistoryEvent(f"e{i}", 1.0, HOMEPAGE, i) for i in range(40))
    encoded = artefact.catalogue.encode_context(artefact.catalogue.fill(Context(HOMEPAGE, history=events)))
    batch = serving_batch(encoded, artefact.scorer.config.width, length, torch.device("cpu"))
    assert batch.present.shape == (1, length)
    newest = artefact.catalogue.records.take(artefact.catalogue.rows_of(["e39", "e38"])).vector
    assert np.array_equal(batch.history[0, :2].numpy(), newest)
