"""The shared network: entity tower, context tower, their dot product beside match features, one logit. Tensors only.

Shapes: B contexts, C candidates, H history events, D width, F match features, T tasks, M missing flags.
`score` defines the logits; serving computes the same in `fast/`. The entity tower runs once per entity, for its record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.catalogue.categories import NULL_CATEGORY
from model.config import NetworkConfig
from model.network.layers import FeatureEncoding, ResidualMLP

MISSING = ("query", "query_imputed", "source", "source_imputed", "user", "country", "history")


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts that depend on the data, not on the configuration."""

    tasks: int
    users: int
    countries: int
    entities: int
    features: int
    numbers: int  # static columns that the entity tower reads


@dataclass(slots=True)
class EntityBatch:
    """U entities as inputs of the entity tower."""

    ids: Tensor  # [U] row + 1, 0 = the learned null
    text: Tensor  # [U, Dt]
    numbers: Tensor  # [U, numbers]
    categories: Tensor  # [total] 0 = the learned null
    offsets: Tensor  # [U]


@dataclass(slots=True)
class ContextBatch:
    """B contexts. `source` and `history` are entity vectors; where absent, they are zeros with a mask."""

    task: Tensor  # [B]
    user: Tensor  # [B] 0 = the learned null
    country: Tensor  # [B] 0 = the learned null
    missing: Tensor  # [B, M] 1 = present
    query: Tensor  # [B, Dt]
    profile: Tensor  # [B, 2·Dt]
    source: Tensor  # [B, D]
    history: Tensor  # [B, H, D] newest first
    kinds: Tensor  # [B, H] task · 2 + liked
    present: Tensor  # [B, H]


@dataclass(slots=True)
class RankerOutput:
    """The two heads of the network, [B, C] each."""

    logits: Tensor
    retrieval_logits: Tensor


class EntityTower(nn.Module):
    """Attributes and id → vector [U, D]."""

    def __init__(self, config: NetworkConfig, sizes: Sizes) -> None:
        super().__init__()
        self.id = nn.Embedding(sizes.entities + 1, config.id_width)
        self.category = nn.EmbeddingBag(config.category_buckets, config.category_width, mode="mean")
        inputs = config.id_width + config.category_width + config.text_width + sizes.numbers
        self.mlp = ResidualMLP(inputs, config.tower_hidden, config.width, config.dropout)
        nn.init.normal_(self.id.weight, std=0.05)
        nn.init.normal_(self.category.weight, std=0.1)
        nn.init.zeros_(self.category.weight[NULL_CATEGORY])  # no effect if training has no null category

    def forward(self, entities: EntityBatch) -> Tensor:
        """[U, D]"""
        parts = [
            self.id(entities.ids),
            self.category(entities.categories, entities.offsets),
            entities.text * entities.text.shape[1] ** 0.5,
            entities.numbers,
        ]
        vector: Tensor = self.mlp(torch.cat(parts, dim=1))
        return vector


class ContextTower(nn.Module):
    """All inputs of a context → vector [B, D]."""

    def __init__(self, config: NetworkConfig, sizes: Sizes) -> None:
        super().__init__()
        self.task = nn.Embedding(sizes.tasks, 16)
        self.user = nn.Embedding(sizes.users + 1, config.user_width)
        self.country = nn.Embedding(sizes.countries + 1, 8)
        self.null_query = nn.Parameter(torch.zeros(config.text_width))
        self.null_source = nn.Parameter(torch.zeros(config.width))
        self.null_history = nn.Parameter(torch.zeros(config.width))
        self.kind = nn.Embedding(2 * sizes.tasks, config.width)
        inputs = 16 + config.user_width + 8 + len(MISSING) + 3 * config.text_width + 2 * config.width
        self.mlp = ResidualMLP(inputs, config.tower_hidden, config.width, config.dropout)
        nn.init.normal_(self.user.weight, std=0.05)
        nn.init.normal_(self.kind.weight, std=0.02)

    def forward(self, context: ContextBatch) -> Tensor:
        """[B, D]"""
        has_query, has_source = context.missing[:, :1], context.missing[:, 2:3]
        parts = [
            self.task(context.task),
            self.user(context.user),
            self.country(context.country),
            context.missing,
            torch.where(has_query > 0, context.query * context.query.shape[1] ** 0.5, self.null_query),
            torch.where(has_source > 0, context.source, self.null_source),
            self._pooled(context.history + self.kind(context.kinds), context.present),
            context.profile * context.query.shape[1] ** 0.5,
        ]
        vector: Tensor = self.mlp(torch.cat(parts, dim=1))
        return vector

    def _pooled(self, events: Tensor, present: Tensor) -> Tensor:
        weights = present.to(events.dtype)[:, :, None]
        mean = (events * weights).sum(1) / weights.sum(1).clamp(min=1)
        return torch.where(present.any(1)[:, None], mean, self.null_history)


class Ranker(nn.Module):
    """(context, entity) → one logit. A dot product of the same two towers serves retrieval."""

    def __init__(self, config: NetworkConfig, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        self.sizes = sizes
        self.entity_tower = EntityTower(config, sizes)
        self.context_tower = ContextTower(config, sizes)
        hidden = config.scorer_hidden
        self.features = FeatureEncoding(sizes.features, config.feature_bins)
        evidence = sizes.features * (1 + config.feature_bins) + 1  # the last one is the dot product
        self.from_evidence = nn.Linear(evidence, hidden)
        self.task_evidence = nn.Parameter(torch.zeros(sizes.tasks, evidence, hidden))  # added by each task
        self.norm = nn.LayerNorm(hidden)
        self.second = nn.Linear(hidden, hidden // 2)
        self.out = nn.Linear(hidden // 2, 1)
        self.straight = nn.Embedding(sizes.tasks, sizes.features)  # a linear model of the features for each task
        self.temperature = nn.Parameter(torch.zeros(sizes.tasks))
        self.engagement_scale = nn.Parameter(torch.zeros(sizes.tasks))
        self.text_scale = nn.Parameter(torch.zeros(sizes.tasks))
        nn.init.zeros_(self.straight.weight)

    def entity_vectors(self, entities: EntityBatch) -> Tensor:
        """[U, D]"""
        vectors: Tensor = self.entity_tower(entities)
        return vectors

    def forward(
        self, entities: EntityBatch, context: ContextBatch, source: Tensor, history: Tensor, candidates: Tensor,
        features: Tensor, affinity: Tensor,
    ) -> RankerOutput:  # fmt: skip
        """Both heads for B contexts, as training needs them: gradients flow into candidates, sources and histories.

        source [B], history [B, H] and candidates [B, C] are indices into the U entities, -1 = none; features
        [B, C, F], affinity [B, C, 2] = co-engagement and text. `context` comes without vectors of source and history.
        """
        vectors = self.entity_vectors(entities)
        present = (history >= 0)[:, :, None]
        context = replace(
            context, source=vectors[source.clamp(min=0)] * (source >= 0)[:, None],
            history=vectors[history.clamp(min=0)] * present,
        )  # fmt: skip
        encoded = self.encode_contexts(context)
        chosen = vectors[candidates]
        logits = self.score_encoded(context, encoded, chosen, features)
        return RankerOutput(logits, self.retrieval_logits(context, encoded, chosen, affinity))

    def encode_contexts(self, context: ContextBatch) -> Tensor:
        """The context side, once per request. [B, D]"""
        vectors: Tensor = self.context_tower(self._mask_task(context))
        return vectors

    def score(self, context: ContextBatch, candidates: Tensor, features: Tensor) -> Tensor:
        """Candidate vectors [B, C, D] and match features [B, C, F] → logits [B, C]."""
        self._check(context, candidates, features)
        return self.score_encoded(context, self.encode_contexts(context), candidates, features)

    def score_encoded(self, context: ContextBatch, encoded: Tensor, candidates: Tensor, features: Tensor) -> Tensor:
        """The same as `score`, with the result of `encode_contexts`: `encoded` [B, D]."""
        context = self._mask_task(context)
        dots = (candidates @ encoded[:, :, None]) * candidates.shape[-1] ** -0.5  # [B, C, 1]
        scores, bins = self.features(features)
        keep_learned, keep_features = self._kept(len(candidates), candidates.device)
        scores, bins, dots = scores * keep_features, bins * keep_features, dots * keep_learned
        evidence = torch.cat([scores, bins, dots], dim=-1)  # [B, C, F · (1 + bins) + 1]
        hidden = functional.gelu(self.norm(self._from_evidence(evidence, context.task)))
        hidden = functional.gelu(self.second(hidden))
        straight = (scores * self.straight(context.task)[:, None]).sum(-1)
        logits: Tensor = self.out(hidden).squeeze(-1) + straight
        return logits

    def _from_evidence(self, evidence: Tensor, task: Tensor) -> Tensor:
        """The first layer with the weights of the task. A batch of a single task, the usual case, takes one product."""
        shared = self.from_evidence.weight.T
        if bool((task == task[0]).all()):
            return evidence @ (shared + self.task_evidence[task[0]]) + self.from_evidence.bias
        return evidence @ (shared + self.task_evidence[task]) + self.from_evidence.bias

    def _mask_task(self, context: ContextBatch) -> ContextBatch:
        """The context as the network sees it: always task 0 in the ablation without task input."""
        return context if self.config.task_input else replace(context, task=torch.zeros_like(context.task))

    def _kept(self, contexts: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """[B, 1, 1] 0 = this context is scored without learned vectors, and the same of match features.

        In training a share of the contexts has the one or the other alone: match features suffice for what was never
        engaged with, and learned vectors that had to rank alone are worth something beside them.
        """
        config = self.config
        if not self.training:
            learned = torch.full((contexts, 1, 1), float(config.learned_dropout < 1), device=device)
            return learned, torch.ones_like(learned)
        drawn = torch.rand((contexts, 1, 1), device=device)
        return (drawn >= config.learned_dropout).float(), (drawn < 1 - config.feature_dropout).float()

    def retrieval_logits(self, context: ContextBatch, encoded: Tensor, candidates: Tensor, affinity: Tensor) -> Tensor:
        """Dot products in the retrieval space: candidates [B, C, D], affinity [B, C, 2] of each other part → [B, C]."""
        query = self._retrieval_vector(context, encoded)
        return (candidates * query[:, None]).sum(-1) + (affinity * self._retrieval_scales(context)[:, None]).sum(-1)

    def retrieval_query(self, context: ContextBatch, encoded: Tensor, liked: Tensor, text: Tensor) -> Tensor:
        """Contexts in the embedding space of retrieval, [B, D + Dz + Dt].

        `liked` [B, Dz] is their co-engagement profile, `text` [B, Dt] the text that they ask for.
        """
        scales = self._retrieval_scales(context)
        return torch.cat([self._retrieval_vector(context, encoded), liked * scales[:, :1], text * scales[:, 1:]], dim=1)

    def _retrieval_vector(self, context: ContextBatch, encoded: Tensor) -> Tensor:
        task = self._mask_task(context).task
        scaled: Tensor = encoded * torch.exp(self.temperature[task])[:, None] * encoded.shape[1] ** -0.5
        return scaled

    def _retrieval_scales(self, context: ContextBatch) -> Tensor:
        """Weights of co-engagement and text for each task. [B, 2]"""
        task = self._mask_task(context).task
        return torch.stack([self.engagement_scale[task], self.text_scale[task]], dim=1)

    def _check(self, context: ContextBatch, candidates: Tensor, features: Tensor) -> None:
        batch, count, width = candidates.shape
        if features.shape != (batch, count, self.sizes.features) or width != self.config.width:
            raise ValueError(
                f"expected candidates [B, C, {self.config.width}] and features [B, C, {self.sizes.features}], "
                f"got {tuple(candidates.shape)} and {tuple(features.shape)}"
            )
        if context.task.shape != (batch,):
            raise ValueError(f"expected {batch} contexts, got {tuple(context.task.shape)}")


def retrieval_entity(vector: Tensor, engagement: Tensor, inverse: Tensor, text: Tensor) -> Tensor:
    """Entities in the embedding space of retrieval, [N, D + Dz + Dt]; co-engagement has the weights of EASE."""
    return torch.cat([vector, engagement * inverse[:, None], text], dim=1)
