"""Many questions at once: answers as the pipeline gives them, padded on the left.

Prompts are those of training (stage 3): a question about a commanded pose has that pose's transform queries in it.
**Blind** answers come from the same model and the same prompt with every picture token replaced by one that says
nothing: the projection of the features' training mean (the Spatial-VAE's ``feature_mean``).

Shape letters: B rows, T tokens, W width, N picture tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache

from uniugg_core.models.uniugg import UniUGG
from uniugg_core.prompts import question_prompt
from uniugg_core.tokenizer import SpatialTokenizer, TextStream

from ..data.questions import Question
from ..data.views import PairBatch
from ..showing import look

__all__ = ["Answerer", "Asked"]

_AT_ONCE = 64  # questions; more only need more memory


@dataclass(frozen=True)
class Asked:
    """A question and the number of its pair in the batch."""

    row: int
    question: Question


class Answerer:
    """Answers questions about batches of pairs.

    Args:
        model: in evaluation mode, with the tokenizer bound.
        tokenizer: its.
        max_new_tokens: limit of an answer; None takes the model's default.
    """

    def __init__(self, model: UniUGG, tokenizer: SpatialTokenizer, max_new_tokens: int | None = None) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.draws = model.config.generation.number_draws
        self.limit = max_new_tokens or model.config.generation.max_new_tokens

    def __call__(
        self,
        features_B2ND: Tensor,
        grid: tuple[int, int],
        batch: PairBatch,
        asked: Sequence[Asked],
        *,
        blind: bool = False,
    ) -> list[str]:
        """One answer to each question.

        Args:
            features_B2ND: of the pairs' pictures.
            grid: of their tokens.
            batch: the pairs.
            asked: about them.
            blind: without seeing them.
        """
        said = [""] * len(asked)
        with torch.inference_mode():
            rows = self._rows(features_B2ND, grid, batch, asked, blind)
            # alike lengths together: less padding, and the short answers do not wait for the long ones
            order = sorted(range(len(asked)), key=lambda n: (len(asked[n].question.views), len(asked[n].question.text)))
            for start in range(0, len(order), _AT_ONCE):
                part = order[start : start + _AT_ONCE]
                for number, ids in zip(part, self._continue([rows[number] for number in part])):
                    stream = TextStream(self.tokenizer)
                    said[number] = "".join(stream.push(token) for token in ids)
        return said

    def _rows(
        self, features_B2ND: Tensor, grid: tuple[int, int], batch: PairBatch, asked: Sequence[Asked], blind: bool
    ) -> list[Tensor]:
        """Embeddings (T, W) of each prompt."""
        if blind:
            features_B2ND = self.model.vae.feature_mean.to(features_B2ND).expand_as(features_B2ND)
        talks = list(dict.fromkeys((item.row, item.question.views) for item in asked))
        seen, shown = look(self.model, features_B2ND, grid, batch, talks, pictured=not blind)
        pictures = dict(zip(talks, shown))
        numbers = [pictures[item.row, item.question.views] for item in asked]
        tokens = self.model.tokens(seen)
        language = self.model.language
        queries: dict[int, Tensor] = {}
        poses_of: list[Tensor | None] = [None] * len(asked)
        posed = [k for k, item in enumerate(asked) if item.question.target_from_reference is not None]
        if posed:
            poses = torch.tensor([asked[k].question.target_from_reference for k in posed], dtype=torch.float64)
            # a commanded view has the calibration of the picture it is asked about
            matrices = batch.intrinsics[[asked[k].row for k in posed], 0].cpu().double()
            for k, pose in zip(posed, poses):
                poses_of[k] = pose.float()
            rays = self.model.raymap(poses, matrices, grid).float().to(self.model.device)
            queries = dict(zip(posed, language.embed_rays(rays)))
        prompts = [
            question_prompt(
                self.tokenizer,
                item.question.text,
                images=len(item.question.views),
                with_queries=number in queries,
                with_marks=self.model.config.language.marks,
                with_cameras=self.model.config.language.situated,
            )
            for number, item in enumerate(asked)
        ]
        one_each = [[prompt] for prompt in prompts], [[pose] for pose in poses_of]
        told = self.model.show(seen, numbers, *one_each)
        return [
            language.assemble(prompt, [tokens[picture] for picture in own], queries.get(number), part)[0]
            for number, ((prompt,), (part,), own) in enumerate(zip(told.prompts, told.parts, numbers))
        ]

    def _continue(self, rows: Sequence[Tensor]) -> list[list[int]]:
        """What :meth:`Language.generate` says behind each row, all of them at once, without the closing token."""
        language = self.model.language
        lengths = torch.tensor([len(row) for row in rows])
        longest = int(lengths.max())
        device = rows[0].device
        step = torch.stack([nn.functional.pad(row, (0, 0, longest - len(row), 0)) for row in rows])
        mask = (torch.arange(longest)[None] >= (longest - lengths)[:, None]).long().to(device)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        cache, said = None, [[] for _ in rows]  # type: ignore[var-annotated]
        drawn: list[list[int]] = [[] for _ in rows]  # what is still to be said of a number
        running, over = [True] * len(rows), [False] * len(rows)  # over: a number has just ended
        for count in range(self.limit):
            output = language.qwen.model(
                inputs_embeds=step, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True
            )
            cache = output.past_key_values
            logits = language.answer_logits(output.last_hidden_state[:, -1])
            likeliest = logits.argmax(-1).tolist()
            for row in range(len(rows)):
                if not running[row]:
                    continue
                if not drawn[row]:
                    if over[row]:
                        likeliest[row] = int(language.numbers.silent(logits[row]).argmax())
                    elif self.draws and likeliest[row] in language.numbers:
                        own, odds = _alone(cache, row, longest - int(lengths[row])), logits[row].log_softmax(-1)
                        number = language.drawn_number(own, odds, self.draws, self.limit - count)
                        drawn[row] = [token for token, _ in number]
                over[row] = len(drawn[row]) == 1
                if drawn[row]:
                    likeliest[row] = drawn[row].pop(0)
                running[row] = likeliest[row] not in language.stops
                if running[row]:
                    said[row].append(likeliest[row])
            if not any(running):
                break
            step = language.embed_tokens(likeliest)[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], 1)
            places = places[:, -1:] + 1
        return said


def _alone(cache: Cache, row: int, padding: int) -> DynamicCache:
    """One row of a cache, as if it had been run alone."""
    own = DynamicCache()
    for number, layer in enumerate(cache.layers):
        own.update(layer.keys[row : row + 1, :, padding:], layer.values[row : row + 1, :, padding:], number)
    return own
