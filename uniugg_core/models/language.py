"""Language model: reads pictures and transform queries, speaks answers, and conditions the denoiser (UniUGG, stage 3).

1. A two-layer projector brings the encoder's features to the model's width: one token a patch. A second one may add
   where the spatial decoder sees the patch in space (the idea of LLaVA-3D, ICCV 2025), and a third one where it lies
   in the first picture's frame. A place that a question names may be shown to it as a patch of its own (as regions are
   in SpatialRGPT, NeurIPS 2024), and so may what a word names (:mod:`.grounding`).
2. A two-layer MLP brings each target ray to a transform query, marked by one learned "view query" vector.
3. For generation the states after the final norm at the query positions, normalised and projected, are the condition C.
4. For answers the model continues the chat prompt token by token.

The transformer is transformers' ``Qwen2ForCausalLM``, so Qwen2.5 weights load as they are.

Shape letters: B batch, N picture tokens, Q queries, T tokens of a sequence, D feature width, W model width, E condition
width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..config import LanguageConfig
from ..errors import ErrorCode, UniuggError
from ..prompts import (
    CameraSlot,
    ImageSlot,
    MarkSlot,
    NameSlot,
    Piece,
    Prompt,
    QuerySlot,
    condition_prefix,
    shared_pieces,
)
from ..tokenizer import SpatialTokenizer
from .boxes import Boxes
from .grounding import LIKENESS, Found, Grounding, Scenery, Sightings
from .lessons import IGNORED, Lessons
from .numbers import NumberTokens, median_number
from .places import PlaceProjector
from .qwen import additive_mask, as_computed, build_qwen
from .situation import Situation

__all__ = ["Language", "Prefix"]

_TOGETHER = 32  # questions of about the same length that are taught at once
_RAY = 6  # numbers of a Plücker ray


@dataclass(frozen=True)
class Prefix:
    """The attention cache of a reference picture, good for any number of target poses; `length` tokens."""

    cache: Any
    length: int


class Language(nn.Module):
    """The language model with what connects it to pictures and to the denoiser.

    Args:
        config: sizes.
        feature_width, state_width: of the encoder, D, and of the spatial decoder.
        project: False leaves the condition projector out and gives the raw states (for the regressor).
    """

    def __init__(self, config: LanguageConfig, feature_width: int, state_width: int, *, project: bool = True) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.qwen = build_qwen(config)
        self.projector = nn.Sequential(nn.Linear(feature_width, width), nn.GELU(), nn.Linear(width, width))
        self.points = PlaceProjector(width, waves=config.waves) if config.points else None
        self.placed = PlaceProjector(width, waves=config.waves, silent=True) if config.placed else None
        self.mark = nn.Parameter(torch.randn(width) * 0.02) if config.marks else None
        self.grounding = Grounding(width, feature_width, state_width * config.focused) if config.grounded else None
        self.situation = Situation(width) if config.situated else None
        self.boxes = Boxes(feature_width, state_width, LIKENESS, config.reaching) if config.situated else None
        self.query = nn.Sequential(nn.Linear(_RAY, width), nn.GELU(), nn.Linear(width, width))
        self.view_query = nn.Parameter(torch.randn(width) * 0.02)
        self.condition_projector = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, config.condition_width)) if project else nn.Identity()
        )
        self.null_condition = nn.Parameter(torch.randn(self.condition_width) * 0.02) if project else None
        self._prefix: Prompt | None = None
        self.stops: frozenset[int] = frozenset()
        self._forbidden: Tensor | None = None
        self.numbers = NumberTokens()

    def bind(self, tokenizer: SpatialTokenizer) -> None:
        """Takes the numbers of the control tokens from the tokenizer, and which tokens an answer may contain.

        Raises:
            UniuggError: CHECKPOINT_MISMATCH if the tokenizer has more entries than the embedding has rows.
        """
        if len(tokenizer) > self.config.vocab_size:
            raise UniuggError(
                ErrorCode.CHECKPOINT_MISMATCH,
                f"the tokenizer has {len(tokenizer)} entries, the embedding {self.config.vocab_size} rows",
            )
        self._prefix = condition_prefix(tokenizer)
        self.stops = frozenset(tokenizer.stop_ids)
        forbidden = torch.ones(self.config.vocab_size, dtype=torch.bool, device="cpu")
        forbidden[: len(tokenizer)] = False
        forbidden[sorted(tokenizer.control_ids)] = True
        forbidden[list(tokenizer.stop_ids)] = False
        self._forbidden = forbidden
        self.numbers = NumberTokens(tokenizer)

    def revive(self) -> None:
        """Rebuilds what no checkpoint holds, the rotary frequencies, after construction on the meta device."""
        rotary = self.qwen.model.rotary_emb
        if rotary.inv_freq.is_meta:
            self.qwen.model.rotary_emb = type(rotary)(config=self.qwen.config)
        self.qwen.tie_weights()

    @property
    def condition_width(self) -> int:
        """E: width of what :meth:`condition` gives."""
        return self.config.condition_width if isinstance(self.condition_projector, nn.Sequential) else self.config.width

    @property
    def dtype(self) -> torch.dtype:
        """Type the connectors compute in."""
        return self.view_query.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.view_query.device

    # Embeddings

    def embed_tokens(self, ids: Sequence[int]) -> Tensor:
        """Token numbers to (T, W)."""
        return self.qwen.model.embed_tokens(torch.tensor(ids, dtype=torch.long, device=self.device))

    def embed_features(self, features: Tensor, points: Tensor | None = None, placed: Tensor | None = None) -> Tensor:
        """Encoder features (..., N, D), real or generated, to picture tokens (..., N, W).

        Args:
            features: of any number of pictures.
            points: (..., N, 12), their patches' :func:`~uniugg_core.pointmaps.patch_points`; for models that read them.
            placed: the same in the frame of the first picture of a question; None: this is the first one.

        Raises:
            UniuggError: REQUEST_INVALID if the model reads points and none are given.
        """
        tokens = self.projector(features.to(self.dtype))
        if self.points is None:
            return tokens
        if points is None:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "this language model reads the points of a picture as well")
        tokens = tokens + self.points(points)
        return tokens if self.placed is None else tokens + self.placed(points if placed is None else placed)

    def embed_marks(self, features: Tensor, points: Tensor, placed: Tensor | None = None) -> Tensor:
        """Places that questions name, (M, W), as :meth:`embed_features` of patches of their own.

        Raises:
            UniuggError: REQUEST_INVALID if the model is not shown any.
        """
        if self.mark is None:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "this language model is not shown the places of a question")
        return self.embed_features(features, points, placed) + self.mark

    def embed_names(self, sightings: Sightings) -> Tensor:
        """What names found in each picture, (M, P, W), as :meth:`embed_marks`; next to nothing where they are not."""
        found = self.embed_features(sightings.features, sightings.own, sightings.placed)
        found = found + self.grounding.shape(sightings)
        return sightings.share[..., None].to(found.dtype) * found + self.mark

    def ground(self, prompts: Sequence[Sequence[Prompt]], scenery: Scenery) -> Found:
        """Where the words of questions look in their pictures.

        Args:
            prompts: of each talk.
            scenery: of each talk.

        Raises:
            UniuggError: REQUEST_INVALID if the model's words do not look.
        """
        if self.grounding is None:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "the words of this language model do not look at pictures")
        lookup = self._embed_pieces(piece for together in prompts for prompt in together for piece in prompt.words)
        return self.grounding.of_prompts(prompts, lookup, scenery)

    def embed_rays(self, raymap: Tensor) -> Tensor:
        """Plücker rays (B, gh, gw, 6) of the target view to transform queries (B, gh gw, W)."""
        return self.query(raymap.to(self.dtype).flatten(1, 2)) + self.view_query

    def assemble(
        self,
        prompt: Prompt,
        images: Sequence[Tensor],
        queries: Tensor | None = None,
        shown: Mapping[Piece, Tensor] | None = None,
        words: Mapping[Piece, Tensor] | None = None,
    ) -> tuple[Tensor, list[slice]]:
        """One sequence of embeddings.

        Args:
            prompt: the order.
            images: picture tokens (N, W) by number, from :meth:`embed_features`.
            queries: (Q, W), from :meth:`embed_rays`, where the prompt has a slot for them.
            shown: where the prompt has slots for marks and names these, (W,) each, and for cameras, (2, W), see
                :meth:`UniUGG.show`.
            words: the prompt's pieces of text, each (T, W); None: they are looked up here.

        Returns:
            (T, W), and where each picture's tokens stand. The prompt's answer is not part of it.

        Raises:
            UniuggError: REQUEST_INVALID if the prompt has a slot that nothing was given for.
        """
        parts: list[Tensor] = []
        places: dict[int, slice] = {}
        length = 0
        for piece in prompt.pieces:
            if isinstance(piece, ImageSlot):
                if piece.index >= len(images):
                    raise UniuggError(
                        ErrorCode.REQUEST_INVALID, f"the prompt shows picture {piece.index} of {len(images)}"
                    )
                part = images[piece.index]
                places[piece.index] = slice(length, length + len(part))
            elif isinstance(piece, QuerySlot):
                if queries is None:
                    raise UniuggError(ErrorCode.REQUEST_INVALID, "the prompt has transform queries, none were given")
                part = queries
            elif isinstance(piece, (CameraSlot, MarkSlot, NameSlot)):
                if shown is None or piece not in shown:
                    raise UniuggError(ErrorCode.REQUEST_INVALID, f"the prompt shows {piece}, which was not given")
                part = shown[piece].view(-1, self.config.width)
            else:
                part = self.embed_tokens(piece) if words is None else words[piece]
            parts.append(part)
            length += len(part)
        return torch.cat(parts), [places[index] for index in sorted(places)]

    # Condition

    def condition(self, features: Tensor, raymap: Tensor, points: Tensor | None = None) -> Tensor:
        """The condition of the target view, in one pass (the form for training).

        Args:
            features: (B, N, D) of the reference view.
            raymap: (B, gh, gw, 6) of the target view in the reference camera's frame.
            points: (B, N, 12) of the reference view, as for :meth:`embed_features`.

        Returns:
            (B, Q, E), or (B, Q, W) without a condition projector. Causal attention lets a query see the picture and
            the queries before it; with ``bidirectional_queries`` it sees all queries. What a prompt has after the
            queries cannot reach them either way, so it is left out.
        """
        before = self._condition_prefix(features, points)
        queries = self.embed_rays(raymap)
        embeddings = as_computed(torch.cat([before, queries], dim=1))
        mask = None
        if self.config.bidirectional_queries:
            total, first = embeddings.shape[1], before.shape[1]
            hidden = torch.ones(total, total, dtype=torch.bool, device=embeddings.device).triu(1)
            hidden[first:, first:] = False
            mask = additive_mask(hidden, embeddings.dtype)
        states = self.qwen.model(inputs_embeds=embeddings, attention_mask=mask, use_cache=False).last_hidden_state
        return self.condition_projector(states[:, before.shape[1] :])

    def prefix(self, features: Tensor, points: Tensor | None = None) -> Prefix:
        """Runs the reference picture (1, N, D) alone and keeps its attention cache for :meth:`condition_after`."""
        before = self._condition_prefix(features, points)
        output = self.qwen.model(inputs_embeds=before, use_cache=True)
        return Prefix(output.past_key_values, before.shape[1])

    def condition_after(self, prefix: Prefix, raymap: Tensor) -> Tensor:
        """As :meth:`condition` to rounding, for one more target of a picture that was run before; the cache stays."""
        queries = self.embed_rays(raymap)
        cache = copy.deepcopy(prefix.cache)
        mask = None
        if self.config.bidirectional_queries:
            shape = (queries.shape[1], prefix.length + queries.shape[1])
            mask = additive_mask(torch.zeros(shape, dtype=torch.bool, device=queries.device), queries.dtype)
        states = self.qwen.model(
            inputs_embeds=queries, attention_mask=mask, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return self.condition_projector(states)

    def null(self, condition: Tensor) -> Tensor:
        """The learned condition "no condition", shaped like `condition` (B, Q, E); for guidance and its training.

        Raises:
            UniuggError: REQUEST_INVALID if the model has none.
        """
        if self.null_condition is None:
            raise UniuggError(ErrorCode.REQUEST_INVALID, "a model without diffusion has no guidance")
        return self.null_condition.to(condition.dtype).expand_as(condition)

    def _condition_prefix(self, features: Tensor, points: Tensor | None) -> Tensor:
        if self._prefix is None:
            raise UniuggError(ErrorCode.CHECKPOINT_MISSING, "the language model has no tokenizer; call bind() first")
        batch = features.shape[0]
        pictures = self.embed_features(features, points)
        parts = [
            pictures if isinstance(piece, ImageSlot) else self.embed_tokens(piece).expand(batch, -1, -1)
            for piece in self._prefix.pieces
            if not isinstance(piece, QuerySlot)
        ]
        return torch.cat(parts, dim=1)

    # Words

    def forward(self, lessons: Lessons) -> tuple[Tensor, Tensor]:
        """Cross-entropy () of the answers' tokens, and the share () of answers whose every token is the likeliest.

        Every start is read once; questions follow in groups of about the same length, which attend to their start's
        keys and to themselves. That is a fifth of the attention of rows in one piece.
        """
        from transformers import DynamicCache

        start = DynamicCache()
        self.qwen.model(inputs_embeds=lessons.starts, past_key_values=start, use_cache=True)
        order = sorted(range(len(lessons.asked)), key=lambda number: len(lessons.asked[number]))
        logits, wanted, number_of = [], [], []
        for first in range(0, len(order), _TOGETHER):
            group = order[first : first + _TOGETHER]
            states = self._continued(start, lessons, group)
            # what is said at one place is decided at the place before; the vocabulary is only weighed where it counts
            labels = nn.utils.rnn.pad_sequence(
                [lessons.labels[number][1:] for number in group], batch_first=True, padding_value=IGNORED
            )
            counts = labels != IGNORED
            logits.append(self.qwen.lm_head(states[:, :-1][counts]).float())
            wanted.append(labels[counts])
            number_of.append(counts.nonzero()[:, 0] + first)
        said, right = torch.cat(logits), torch.cat(wanted)
        loss = nn.functional.cross_entropy(said, right)
        with torch.no_grad():
            wrong = (said.argmax(-1) != right).float()
            missed = torch.zeros(len(order), device=wrong.device).index_add_(0, torch.cat(number_of), wrong)
        return loss, (missed == 0).float().mean()

    def _continued(self, start: Any, lessons: Lessons, group: Sequence[int]) -> Tensor:
        """States (G, T, W) of a group of questions behind the cache of their starts."""
        from transformers import DynamicCache

        rows = lessons.rows[list(group)]
        cache = DynamicCache()
        for number, layer in enumerate(start.layers):
            cache.update(layer.keys.index_select(0, rows), layer.values.index_select(0, rows), number)
        asked_GTW = nn.utils.rnn.pad_sequence([lessons.asked[number] for number in group], batch_first=True)
        places = torch.arange(asked_GTW.shape[1], device=self.device)
        before = torch.arange(lessons.starts.shape[1], device=self.device)
        lengths = lessons.lengths[rows][:, None]
        visible_GTX = torch.cat(
            [
                (before < lengths)[:, None, :].expand(-1, len(places), -1),
                (places[None, :] <= places[:, None]).expand(len(group), -1, -1),
            ],
            dim=-1,
        )
        return self.qwen.model(
            inputs_embeds=asked_GTW,
            attention_mask=visible_GTX[:, None],
            position_ids=lengths + places,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    def collate(
        self,
        prompts: Sequence[Sequence[Prompt]],
        images: Sequence[Sequence[Tensor]],
        queries: Sequence[Sequence[Tensor | None]] | None = None,
        shown: Sequence[Sequence[Mapping[Piece, Tensor]]] | None = None,
    ) -> Lessons:
        """A training batch of questions with their wanted answers.

        A row holds several prompts about the same pictures: what they begin with alike is read once, and each then
        sees that and itself, so it learns exactly as if it stood alone.

        Args:
            prompts: by row, with `answer` set.
            images: for each row its picture tokens (N, W).
            queries: for each prompt its transform queries (Q, W), or None.
            shown: for each prompt what is at its places and names.
        """
        starts, rows, asked, labels = [], [], [], []
        words = self._embed_pieces(
            piece for together in prompts for prompt in together for piece in (*prompt.pieces, prompt.answer)
        )
        for number, together in enumerate(prompts):
            shared, seen = shared_pieces(together), [None] * len(together) if shown is None else shown[number]
            starts.append(self.assemble(Prompt(together[0].pieces[:shared]), images[number], None, seen[0], words)[0])
            for place, prompt in enumerate(together):
                own = None if queries is None else queries[number][place]
                rest, _ = self.assemble(Prompt(prompt.pieces[shared:]), images[number], own, seen[place], words)
                asked.append(torch.cat([rest, words[prompt.answer]]))
                labels.append(torch.tensor([*[IGNORED] * len(rest), *prompt.answer], device=self.device))
                rows.append(number)
        return Lessons(
            starts=as_computed(nn.utils.rnn.pad_sequence(starts, batch_first=True)),
            lengths=torch.tensor([len(start) for start in starts], device=self.device),
            rows=torch.tensor(rows, device=self.device),
            asked=tuple(as_computed(question) for question in asked),
            labels=tuple(labels),
        )

    def _embed_pieces(self, pieces: Iterable[Piece]) -> dict[Piece, Tensor]:
        """All different texts, looked up at once: the gradient of a lookup is as large as the table."""
        texts = {piece: None for piece in pieces if isinstance(piece, tuple)}
        embedded = self.embed_tokens([token for text in texts for token in text])
        return dict(zip(texts, embedded.split([len(text) for text in texts])))

    def answer_logits(self, states: Tensor) -> Tensor:
        """Float32 logits (..., V) of what follows states (..., W); minus infinity for what no answer may contain.

        Raises:
            UniuggError: CHECKPOINT_MISSING without a tokenizer.
        """
        if self._forbidden is None:
            raise UniuggError(ErrorCode.CHECKPOINT_MISSING, "the language model has no tokenizer; call bind() first")
        return self.qwen.lm_head(states).float().masked_fill(self._forbidden.to(states.device), -torch.inf)

    def generate(
        self,
        embeddings: Tensor,
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
        number_draws: int = 0,
    ) -> Iterator[tuple[int, float]]:
        """Continues one sequence token by token.

        With `number_draws`, every number that would be said is drawn so often, and the one of median value is said, see
        :mod:`.numbers`.

        Args:
            embeddings: (T, W), from :meth:`assemble`.
            max_new_tokens: upper limit.
            temperature: 0 takes the likeliest token; above 0 draws with `generator`.
            number_draws: see above; counts at temperature 0.

        Yields:
            (token, natural logarithm of its probability among the tokens an answer may contain). A stop token is
            yielded too, as the last one; without it the limit ended the answer. Each token's work is done when it is
            asked for, so leaving the loop stops at once.
        """
        cache, step, said, drawn = None, embeddings[None], 0, False
        while said < max_new_tokens:
            output = self.qwen.model(inputs_embeds=step, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            logits = self.answer_logits(output.last_hidden_state[0, -1])
            logprobs = torch.log_softmax(logits, dim=-1)
            if drawn:  # the number is over
                logits = self.numbers.silent(logits)
            if temperature > 0.0:
                weights = torch.softmax(logits / temperature, dim=-1).cpu()
                token = int(torch.multinomial(weights, 1, generator=generator))
            else:
                token = int(logits.argmax())
            answer, drawn = [(token, float(logprobs[token]))], False
            if number_draws and temperature == 0.0 and token in self.numbers:
                number = self.drawn_number(copy.deepcopy(cache), logprobs, number_draws, max_new_tokens - said)
                answer, drawn = number or answer, bool(number)
            yield from answer
            if answer[-1][0] in self.stops:
                return
            said += len(answer)
            step = self.embed_tokens([token for token, _ in answer])[None]

    def drawn_number(self, cache: Any, logprobs: Tensor, draws: int, limit: int) -> list[tuple[int, float]]:
        """The number of median value behind a sequence, token by token, see :func:`median_number`.

        Args:
            cache: of the sequence alone; used up.
            logprobs: (V,) of what comes next.
            draws: how many numbers are drawn.
            limit: of the number's tokens.

        Returns:
            As :meth:`generate` yields them; nothing where no draw is a number.
        """

        def after(parents_U: Tensor, token_U1: Tensor) -> Tensor:
            cache.batch_select_indices(parents_U)
            embedded = self.qwen.model.embed_tokens(token_U1)
            output = self.qwen.model(inputs_embeds=embedded, past_key_values=cache, use_cache=True)
            return torch.log_softmax(self.answer_logits(output.last_hidden_state[:, -1]), dim=-1)

        return median_number(after, logprobs, self.numbers, draws=draws, limit=limit)
