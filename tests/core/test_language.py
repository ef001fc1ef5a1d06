"""Language model: the condition and who sees whom, training batches, and token-by-token generation."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from small_model import SMALL, TOKENS, features, rays, refused

from uniugg_core.config import preset
from uniugg_core.errors import ErrorCode
from uniugg_core.models.grounding import Found, Mention, Scenery, sightings_of, with_slots
from uniugg_core.models.language import Language
from uniugg_core.models.lessons import IGNORED
from uniugg_core.models.qwen import build_qwen
from uniugg_core.pointmaps import compressed
from uniugg_core.prompts import MarkSlot, NameSlot, Prompt, question_prompt
from uniugg_core.tokenizer import SpatialTokenizer

TOKENIZER = SpatialTokenizer.shipped()
GRID = (SMALL.grid, SMALL.grid)


def language(**changes) -> Language:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = Language(
            dataclasses.replace(SMALL.language, **changes), SMALL.encoder.width, SMALL.decoder.width
        ).eval()
    built.bind(TOKENIZER)
    return built


@pytest.fixture(scope="module")
def causal() -> Language:
    return language()


@pytest.fixture(scope="module")
def bidirectional() -> Language:
    return language(bidirectional_queries=True)


@pytest.fixture
def no_grad():
    with torch.no_grad():
        yield


def start(model: Language, question: str = "How far is the chair?", pictures: int = 1) -> torch.Tensor:
    prompt = question_prompt(TOKENIZER, question, images=pictures)
    tokens = [model.embed_features(features(seed=i))[0] for i in range(pictures)]
    return model.assemble(prompt, tokens)[0]


def test_paper_size():
    with torch.device("meta"):
        qwen = build_qwen(preset("paper").language)
    assert sum(p.numel() for p in qwen.parameters()) == 3_085_938_688


@pytest.mark.usefixtures("no_grad")
class TestCondition:
    def test_shape(self, causal):
        assert causal.condition(features(2), rays(2)).shape == (2, TOKENS, SMALL.language.condition_width)

    def test_causal_queries_see_only_those_before(self, causal):
        changed = rays().clone()
        changed[0, 1, 2] += 1.0  # query 6 of 16
        difference = (causal.condition(features(), rays()) - causal.condition(features(), changed)).abs().amax(-1)[0]
        assert (difference[:6] == 0).all()
        assert (difference[6:] > 0).all()

    def test_bidirectional_queries_see_all(self, bidirectional):
        changed = rays().clone()
        changed[0, -1, -1] += 1.0
        difference = bidirectional.condition(features(), rays()) - bidirectional.condition(features(), changed)
        assert (difference.abs().amax(-1) > 0).all()

    @pytest.mark.parametrize("which", ["causal", "bidirectional"])
    def test_every_query_sees_the_picture(self, which, request):
        model = request.getfixturevalue(which)
        difference = model.condition(features(), rays()) - model.condition(features(seed=3), rays())
        assert (difference.abs().amax(-1) > 0).all()

    @pytest.mark.parametrize("which", ["causal", "bidirectional"])
    def test_cached_prefix_gives_the_same_and_serves_again(self, which, request):
        model = request.getfixturevalue(which)
        prefix = model.prefix(features())
        for seed in (1, 2, 1):
            whole = model.condition(features(), rays(seed=seed))
            assert torch.allclose(model.condition_after(prefix, rays(seed=seed)), whole, atol=1e-5)
        again = [model.condition_after(prefix, rays()) for _ in range(2)]
        assert torch.equal(*again)

    def test_batch_members_do_not_mix(self, causal):
        both = causal.condition(torch.cat([features(), features(seed=4)]), rays(2))
        assert torch.allclose(both[:1], causal.condition(features(), rays(2)[:1]), atol=1e-5)

    def test_null_is_one_learned_vector(self, causal):
        null = causal.null(torch.zeros(2, 5, SMALL.language.condition_width))
        assert null.shape == (2, 5, SMALL.language.condition_width)
        assert torch.equal(null[0, 0], null[1, 4]) and null.abs().sum() > 0

    def test_without_projector_the_states_come_raw(self):
        raw = Language(SMALL.language, SMALL.encoder.width, SMALL.decoder.width, project=False)
        raw.bind(TOKENIZER)
        assert raw.condition(features(), rays()).shape == (1, TOKENS, SMALL.language.width)
        refused(ErrorCode.REQUEST_INVALID, raw.null, torch.zeros(1, 1, 1))


class TestBinding:
    def test_a_tokenizer_is_needed(self):
        unbound = Language(SMALL.language, SMALL.encoder.width, SMALL.decoder.width)
        refused(ErrorCode.CHECKPOINT_MISSING, unbound.condition, features(), rays())
        refused(ErrorCode.CHECKPOINT_MISSING, lambda: next(unbound.generate(torch.zeros(3, 32), 1)))

    def test_it_must_fit(self):
        small = Language(dataclasses.replace(SMALL.language, vocab_size=1000), SMALL.encoder.width, SMALL.decoder.width)
        assert "2048" in refused(ErrorCode.CHECKPOINT_MISMATCH, small.bind, TOKENIZER)


@pytest.mark.usefixtures("no_grad")
class TestGeneration:
    def test_the_cache_changes_nothing(self, causal):
        embeddings = start(causal, pictures=2)
        tokens, logprobs = zip(*causal.generate(embeddings, 6))
        whole = torch.cat([embeddings, causal.embed_tokens(tokens)])
        logits = causal.qwen(inputs_embeds=whole[None]).logits[0, len(embeddings) - 1 : -1]
        forbidden = sorted(TOKENIZER.control_ids - set(TOKENIZER.stop_ids))
        logits[:, forbidden] = -torch.inf
        expected = torch.log_softmax(logits, dim=-1)
        assert tokens == tuple(expected.argmax(-1).tolist())
        assert torch.allclose(torch.tensor(logprobs), expected.amax(-1), atol=1e-4)

    def test_the_limit_holds(self, causal):
        assert len(list(causal.generate(start(causal), 3))) <= 3

    def test_a_stop_token_ends_it(self, causal):
        model = language()
        silence(model, TOKENIZER.im_end)
        assert [token for token, _ in model.generate(start(model), 9)] == [TOKENIZER.im_end]

    def test_control_tokens_and_rows_without_a_token_are_never_said(self):
        model = language(vocab_size=2100)
        for banned in (TOKENIZER.im_start, 2099):
            silence(model, banned)
            token, logprob = next(model.generate(start(model), 1))
            assert token != banned and token < 2048
            assert math.isfinite(logprob)

    def test_temperature_draws_with_the_generator(self, causal):
        def draw(seed: int) -> list[int]:
            generator = torch.Generator().manual_seed(seed)
            return [token for token, _ in causal.generate(start(causal), 8, temperature=5.0, generator=generator)]

        assert draw(1) == draw(1) != draw(2)


def silence(model: Language, token: int) -> None:
    """Makes `token` the likeliest next one after any text, and nothing else."""
    model.qwen.lm_head.weight = torch.nn.Parameter(torch.zeros_like(model.qwen.lm_head.weight))
    model.qwen.model.norm.weight.data.zero_()
    original = model.qwen.lm_head.forward
    model.qwen.lm_head.forward = lambda states: original(states).index_fill(-1, torch.tensor(token), 50.0)


class TestTraining:
    def prompts(self, *pairs: tuple[str, str]):
        return [question_prompt(TOKENIZER, question, answer=answer) for question, answer in pairs]

    def batch(self, model: Language, *pairs: tuple[str, str]):
        """Each question in a row of its own, about a picture of its own."""
        images = [[model.embed_features(features(seed=i))[0]] for i in range(len(pairs))]
        return model.collate([[prompt] for prompt in self.prompts(*pairs)], images)

    def test_only_answers_count(self, causal):
        lessons = self.batch(causal, ("How many?", "3"), ("How far is the red chair?", "about 2.5 meters"))
        for row, answer in enumerate(("3", "about 2.5 meters")):
            counts = lessons.labels[row] != IGNORED
            assert lessons.labels[row][counts].tolist() == [*TOKENIZER.encode(answer), TOKENIZER.im_end]

    def test_loss_is_the_mean_over_answer_tokens_and_padding_is_free(self, causal):
        pairs = [("How many?", "3"), ("How far is the red chair?", "about 2.5 meters")]
        together = causal(self.batch(causal, *pairs))[0].item()
        counts, losses = [], []
        for i, prompt in enumerate(self.prompts(*pairs)):
            alone = causal.collate([[prompt]], [[causal.embed_features(features(seed=i))[0]]])
            losses.append(causal(alone)[0].item() * (count := len(prompt.answer)))
            counts.append(count)
        assert together == pytest.approx(sum(losses) / sum(counts), rel=1e-4)

    @pytest.mark.parametrize("posed", [False, True])
    def test_questions_about_one_picture_share_its_tokens_and_nothing_else(self, causal, posed):
        pairs = [("How many?", "3"), ("How far is the red chair?", "about 2.5 meters"), ("How many chairs?", "two")]
        prompts = [
            question_prompt(TOKENIZER, question, with_queries=posed and number != 1, answer=answer)
            for number, (question, answer) in enumerate(pairs)
        ]
        picture = causal.embed_features(features())[0]
        queries = [causal.embed_rays(rays(seed=n))[0] if posed and n != 1 else None for n in range(3)]
        packed = causal.collate([prompts], [[picture]], [queries])
        alone = [causal.collate([[p]], [[picture]], [[q]]) for p, q in zip(prompts, queries)]
        places = [sum(lessons.lengths) + sum(map(len, lessons.asked)) for lessons in (packed, *alone)]
        assert places[0] < sum(places[1:])
        parts = [causal(lessons)[0].item() * len(prompt.answer) for lessons, prompt in zip(alone, prompts)]
        tokens = sum(len(prompt.answer) for prompt in prompts)
        assert causal(packed)[0].item() == pytest.approx(sum(parts) / tokens, rel=1e-4)

    def test_what_is_trained_is_what_is_generated(self):
        """A few steps on one pair make the model say exactly the answer it was taught."""
        model = language().train()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        assert model(self.batch(model, ("How far is the chair?", "2.5 m")))[1] == 0
        for _ in range(30):
            optimiser.zero_grad()
            model(self.batch(model, ("How far is the chair?", "2.5 m")))[0].backward()
            optimiser.step()
        model.eval()
        assert model(self.batch(model, ("How far is the chair?", "2.5 m"), ("And the table?", "?")))[1] == 0.5
        with torch.no_grad():
            said = [token for token, _ in model.generate(start(model), 12)]
        assert said == [*TOKENIZER.encode("2.5 m"), TOKENIZER.im_end]

    @pytest.mark.parametrize("said_as", ["{} m", "the lamp, {} m: yes"])
    def test_an_unsure_number_is_the_median(self, said_as):
        """Neither the likeliest first digit, 0 or 2, nor words are drawn into it."""
        model, answers = language().train(), ("0.5", "0.6", "0.7", "1.4", "1.4", "2.2", "2.3", "2.4")
        taught = [("How far is the chair?", said_as.format(answer)) for answer in answers]
        optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
        picture = features()
        for _ in range(120):
            images = [[model.embed_features(picture)[0]] for _ in taught]
            optimiser.zero_grad()
            model(model.collate([[prompt] for prompt in self.prompts(*taught)], images))[0].backward()
            optimiser.step()
        model.eval()
        with torch.no_grad():

            def said(question: str, **options) -> str:
                embeddings, _ = model.assemble(question_prompt(TOKENIZER, question), [model.embed_features(picture)[0]])
                tokens = [token for token, _ in model.generate(embeddings, 16, **options)]
                assert tokens[-1] == TOKENIZER.im_end
                return TOKENIZER.decode(tokens[:-1])

            asked = "How far is the chair?"
            before = said_as.index("{")
            assert said(asked)[before] in "02"
            assert said(asked, number_draws=128) == said(asked, number_draws=128) == said_as.format("1.4")
            silence(model, TOKENIZER.im_end)
            assert said(asked, number_draws=8) == ""

    def test_an_answer_that_begins_with_a_digit_may_be_long(self):
        """Longer than a number: what was drawn goes on, to its end or to the limit."""
        model = language().train()
        answer = "3, the chair, the lamp, the table, the sofa, the bed and the door"
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(150):
            optimiser.zero_grad()
            model(self.batch(model, ("What is there?", answer)))[0].backward()
            optimiser.step()
        model.eval()
        wanted = [*TOKENIZER.encode(answer), TOKENIZER.im_end]
        assert len(wanted) > 18
        with torch.no_grad():
            for limit in (40, 18, 5):
                said = [token for token, _ in model.generate(start(model, "What is there?"), limit, number_draws=4)]
                assert said == wanted[:limit]

    def test_gradients_reach_the_connectors(self, causal):
        model = language()
        queries = model.embed_rays(rays())[0]
        prompt = question_prompt(TOKENIZER, "And from there?", with_queries=True, answer="3")
        model(model.collate([[prompt]], [[model.embed_features(features())[0]]], [[queries]]))[0].backward()
        for parameter in (model.projector[0].weight, model.query[0].weight, model.view_query):
            assert parameter.grad.abs().sum() > 0

    def test_missing_pieces_are_refused(self, causal):
        prompt = question_prompt(TOKENIZER, "x", images=2, with_queries=True)
        picture = causal.embed_features(features())[0]
        refused(ErrorCode.REQUEST_INVALID, causal.assemble, prompt, [picture])
        refused(ErrorCode.REQUEST_INVALID, causal.assemble, prompt, [picture, picture])
        marked = question_prompt(TOKENIZER, "(1, 2)?", with_marks=True)
        refused(ErrorCode.REQUEST_INVALID, causal.assemble, marked, [picture])


class TestPlaces:
    """Points of the pictures, where the first camera has them, and the places that questions name."""

    def patches(self, seed: int = 0) -> torch.Tensor:
        return torch.rand(1, TOKENS, 12, generator=torch.Generator().manual_seed(seed))

    def test_where_a_later_picture_lies_says_nothing_before_training_and_something_after(self):
        plain, model = language(points=True), language(points=True, placed=True)
        plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("placed.")})
        own, other = self.patches(), self.patches(1)
        before = plain.embed_features(features(), own)
        assert torch.equal(model.embed_features(features(), own, other), before)
        torch.nn.init.normal_(model.placed[-1].weight)
        assert not torch.allclose(model.embed_features(features(), own, other), before)
        assert torch.equal(model.embed_features(features(), own), model.embed_features(features(), own, own))

    def test_waves_say_nothing_before_training_and_something_after(self):
        plain, model = language(points=True), language(points=True, waves=True)
        plain.load_state_dict({k: v for k, v in model.state_dict().items() if "waves" not in k})
        before = plain.embed_features(features(), self.patches())
        assert torch.equal(model.embed_features(features(), self.patches()), before)
        torch.nn.init.normal_(model.points.waves.weight)
        assert not torch.allclose(model.embed_features(features(), self.patches()), before)

    def test_a_mark_is_a_patch_and_says_that_it_is_one(self):
        model = language(points=True, marks=True)
        marks = model.embed_marks(features()[0, :2], self.patches()[0, :2])
        assert torch.allclose(marks - model.mark, model.embed_features(features(), self.patches())[0, :2], atol=1e-6)

    def test_a_mark_stands_behind_its_name(self):
        model = language(points=True, marks=True)
        prompt = question_prompt(TOKENIZER, "At (5, 6) or", with_marks=True)
        picture, mark = torch.zeros(TOKENS, SMALL.language.width), torch.full((SMALL.language.width,), 7.0)
        embedded, _ = model.assemble(prompt, [picture], shown={MarkSlot(0, 5, 6): mark})
        named = [i for i, row in enumerate(embedded) if torch.equal(row, mark)]
        before = sum(
            len(piece) for piece in prompt.pieces[: prompt.pieces.index(MarkSlot(0, 5, 6))] if isinstance(piece, tuple)
        )
        assert named == [before + TOKENS]

    def test_models_without_places_refuse_them(self):
        refused(ErrorCode.REQUEST_INVALID, language(points=True).embed_marks, features()[0, :1], self.patches()[0, :1])
        refused(ErrorCode.CHECKPOINT_INVALID, SMALL.replace, language__marks=True)
        refused(ErrorCode.CHECKPOINT_INVALID, SMALL.replace, language__waves=True)
        refused(ErrorCode.CHECKPOINT_INVALID, SMALL.replace, language__points=True, language__grounded=True)
        refused(ErrorCode.CHECKPOINT_INVALID, SMALL.replace, language__focused=True)
        refused(ErrorCode.CHECKPOINT_INVALID, SMALL.replace, language__reaching=True)
        refused(ErrorCode.CHECKPOINT_INVALID, SMALL.replace, encoder__stem_units=(1,))
        refused(
            ErrorCode.CHECKPOINT_INVALID,
            SMALL.replace,
            language__points=True,
            language__placed=True,
            language__grounded=True,
        )
        quarters = torch.zeros(1, 1, TOKENS, 4, 3)
        states = torch.zeros(1, 1, TOKENS, SMALL.decoder.width)
        scenery = Scenery(features()[None], states, quarters, quarters, torch.ones(1, 1) > 0, GRID)
        refused(ErrorCode.REQUEST_INVALID, language(points=True).ground, [[question_prompt(TOKENIZER, "x")]], scenery)


class TestAttention:
    """Training spells attention out, and answering does not; both are the same."""

    @pytest.mark.parametrize("batch", [1, 2])
    def test_states_with_gradients_are_those_without(self, causal, batch):
        draw = torch.Generator().manual_seed(0)
        words = torch.randn(batch, 9, SMALL.language.width, generator=draw)
        seen = torch.ones(batch, 9, dtype=torch.long)
        seen[0, :3] = 0  # padded on the left
        for mask in (None, seen):
            learning = causal.qwen.model(inputs_embeds=words, attention_mask=mask).last_hidden_state
            with torch.no_grad():
                reading = causal.qwen.model(inputs_embeds=words, attention_mask=mask).last_hidden_state
            assert learning.requires_grad and not reading.requires_grad
            rows = slice(None) if mask is None else mask.bool()
            torch.testing.assert_close(learning[rows], reading[rows], atol=1e-5, rtol=1e-4)

    def test_what_follows_a_cache_sees_what_is_in_it(self, causal):
        words = torch.randn(2, 9, SMALL.language.width, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            whole = causal.qwen.model(inputs_embeds=words).last_hidden_state[:, 5:]
        before = causal.qwen.model(inputs_embeds=words[:, :5], use_cache=True).past_key_values
        after = causal.qwen.model(inputs_embeds=words[:, 5:], past_key_values=before).last_hidden_state
        assert after.requires_grad
        torch.testing.assert_close(after, whole, atol=1e-5, rtol=1e-4)


class TestGrounding:
    """Words look for what they name."""

    def scenery(self, talks: int = 1, pictures: int = 2) -> Scenery:
        draw = torch.Generator().manual_seed(3)
        shape = (talks, pictures, TOKENS)
        return Scenery(
            torch.randn(*shape, SMALL.encoder.width, generator=draw),
            torch.randn(*shape, SMALL.decoder.width, generator=torch.Generator().manual_seed(4)),
            *(torch.rand(2, *shape, 4, 3, generator=draw) + torch.tensor([0.0, 0.0, 1.0])),
            torch.ones(talks, pictures, dtype=torch.bool),
            GRID,
        )

    def model(self, nothing: float = -30.0) -> Language:
        """All weight is on the pictures, or none; then every word names something, or none does."""
        model = language(points=True, placed=True, marks=True, grounded=True)
        with torch.no_grad():
            model.grounding.nothing.bias.fill_(nothing)
        return model

    def look(self, model: Language, questions: list[str], scenery: Scenery, poses=None):
        """Prompts with slots, and what fills those of each."""
        prompts = [[question_prompt(TOKENIZER, text, images=2, with_marks=True) for text in questions]]
        with torch.no_grad():
            found = model.ground(prompts, scenery)
            slotted, names = with_slots(prompts, found, scenery.there)
            frames = torch.stack([torch.eye(4) if poses is None else poses[name.prompt] for name in names])
            tokens = model.embed_names(sightings_of(names, found, scenery, frames))
        return slotted[0], [
            torch.stack([row for name, row in zip(names, tokens) if name.prompt == place])
            for place in range(len(questions))
        ]

    def test_words_that_find_nothing_stay_as_they_are(self):
        prompts = [[question_prompt(TOKENIZER, "Is it the chair?")]]
        for model in (self.model(30.0), language(points=True, placed=True, marks=True, grounded=True)):
            found = model.ground(prompts, self.scenery())
            assert with_slots(prompts, found, self.scenery().there) == (prompts, [])

    def test_names_that_stand_alone_look_as_prompts_of_nothing_else(self):
        model, scenery = self.model(0.0), self.scenery()
        texts = ["the chair", "the coffee table", "lamps"]
        with torch.no_grad():
            names = [model.embed_tokens(TOKENIZER.encode(text)) for text in texts]
            together = model.grounding.of_names(names, scenery.features[0], scenery.states[0])
            assert together.shape == (3, 2, TOKENS + 1)
            for text, looked in zip(texts, together):
                piece = tuple(TOKENIZER.encode(text))
                found = model.ground([[Prompt((piece,))]], scenery)
                last = found.starts[0][0][piece] + len(piece) - 1
                torch.testing.assert_close(looked, found.likely[0, last])

    def test_a_slot_for_each_picture_stands_behind_a_name(self):
        model, scenery = self.model(), self.scenery()
        question = question_prompt(TOKENIZER, "Is it the coffee table?", images=2, with_marks=True)
        (piece,) = question.words
        found = model.ground([[question]], scenery)
        likely = torch.full_like(found.likely, -30.0)
        likely[..., -1] = 0.0
        first, last = (piece.index(TOKENIZER.encode(word)[0]) for word in (" coffee", " table"))
        likely[0, last, 1, 3] = 0.0  # in the second picture alone
        likely[0, last, 1, -1] = -30.0
        for looking in ([last], [first, last]):  # of words in a row the last one ends the name
            likely[0, looking] = likely[0, last].clone()
            ((slotted,),), names = with_slots([[question]], dataclasses.replace(found, likely=likely), scenery.there)
            assert slotted.pieces == (
                *question.pieces[:-1],
                piece[: last + 1],
                NameSlot(0, 0),
                NameSlot(1, 0),
                piece[last + 1 :],
            )
            assert [(name.talk, name.prompt, name.word) for name in names] == [(0, 0, last)]
        for about, slots in (((1,), (NameSlot(1, 0),)), ((0,), ())):  # it is in the second picture alone
            spoken = dataclasses.replace(question, about={piece: about})
            ((slotted,),), _ = with_slots([[spoken]], dataclasses.replace(found, likely=likely), scenery.there)
            assert tuple(slot for slot in slotted.pieces if isinstance(slot, NameSlot)) == slots
        seen = sightings_of(names, dataclasses.replace(found, likely=likely), scenery, torch.eye(4)[None])
        away = scenery.own[0, 1, 3].norm(dim=-1).min() / scenery.own[0, 1, 3].mean(0).norm()
        torch.testing.assert_close(seen.near[0, 1], away.clamp(0.3, 1.0))
        torch.testing.assert_close(seen.share, torch.tensor([[0.0, 1.0]]))
        torch.testing.assert_close(seen.features[0, 1], scenery.features[0, 1, 3])
        torch.testing.assert_close(seen.states[0, 1], scenery.states[0, 1, 3])
        torch.testing.assert_close(seen.placed[0, 1], compressed(scenery.placed[0, 1, 3]))
        column, row = 3 % GRID[1], 3 // GRID[1]
        middle = torch.tensor([(column + 0.5) / GRID[1], (row + 0.5) / GRID[0]])
        torch.testing.assert_close(seen.outline[0, 1], torch.cat([middle, torch.full((2,), 1e-3)]))
        # and is shown as a mark of that place would be
        expected = model.embed_marks(seen.features[:, 1], compressed(scenery.own[:, 1, 3]), seen.placed[:, 1])
        shown = model.embed_names(seen)
        torch.testing.assert_close(shown[:, 1], expected)
        torch.testing.assert_close(shown[0, 0], model.mark)

    def test_every_question_looks_for_itself(self):
        model, scenery = self.model(), self.scenery()
        questions = ["Is it the chair?", "Or at (3, 4) the lamp?"]
        prompts, together = self.look(model, questions, scenery)
        for number, question in enumerate(questions):
            alone, said = self.look(model, [question], scenery)
            assert alone == [prompts[number]]
            torch.testing.assert_close(together[number], said[0])

    def test_a_picture_that_is_not_there_is_not_looked_at(self):
        model, two = self.model(), self.scenery()
        one = Scenery(*(part[:, :1] for part in (two.features, two.states, two.own, two.placed, two.there)), two.grid)
        gone = dataclasses.replace(two, there=torch.tensor([[True, False]]))
        (less,), (said,) = self.look(model, ["Is it the chair?"], gone)
        (same,), (alone,) = self.look(model, ["Is it the chair?"], one)
        assert less == same and NameSlot(1, 0) not in less.pieces
        torch.testing.assert_close(said[:, :1], alone)

    def test_a_commanded_pose_moves_what_they_found(self):
        """Told where the commanded camera stands, names show what they show when the points stand there themselves."""
        model, scenery = self.model(), self.scenery()
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(1)
            torch.nn.init.normal_(model.placed[2].weight)
        pose = torch.eye(4)
        pose[:3, 3] = torch.tensor([0.5, -0.2, 1.0])
        pose[:3, :3] = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
        moved = dataclasses.replace(scenery, placed=scenery.placed @ pose[:3, :3].T + pose[:3, 3])
        _, (posed,) = self.look(model, ["Is it the chair?"], scenery, [pose])
        _, (there,) = self.look(model, ["Is it the chair?"], moved)
        _, (still,) = self.look(model, ["Is it the chair?"], scenery)
        torch.testing.assert_close(posed, there, atol=5e-3, rtol=1e-2)
        assert not torch.allclose(posed, still, atol=5e-2)

    def test_where_they_looked(self):
        prompt = question_prompt(TOKENIZER, "Is it the chair?", images=2)
        found = self.model().ground([[prompt]], self.scenery())
        (piece,) = prompt.words
        assert found.starts == [[{piece: 0}]]
        assert found.likely.shape[2:] == (2, TOKENS + 1)
        torch.testing.assert_close(found.likely.exp().sum(-1), torch.ones(found.likely.shape[:3]))

    def test_a_focused_model_begins_as_one_that_is_not(self):
        plain, scenery = self.model(0.0), self.scenery()
        focused = language(points=True, placed=True, marks=True, grounded=True, focused=True)
        missing, unexpected = focused.load_state_dict(plain.state_dict(), strict=False)
        assert all(name.startswith("grounding.closer.") for name in missing) and len(missing) == 7 and not unexpected
        prompts = [[question_prompt(TOKENIZER, "Is it the chair?", images=2)]]
        with torch.no_grad():
            before = plain.ground(prompts, scenery).likely
            torch.testing.assert_close(focused.ground(prompts, scenery).likely, before)
            torch.nn.init.normal_(focused.grounding.closer.like.weight)
            looked = focused.ground(prompts, scenery).likely
            other = dataclasses.replace(scenery, states=scenery.states.flip(2))
            assert not torch.allclose(looked, before) and not torch.allclose(
                focused.ground(prompts, other).likely, looked
            )

    def test_of_two_places_the_likelier_one_is_shown(self):
        """With what hangs together with it; how many there are is told of all."""
        scenery = self.scenery(pictures=1)
        rows, columns = GRID
        weight = torch.zeros(rows, columns)
        weight[0, 0], weight[0, 1], weight[rows - 1, columns - 1], weight[0, columns - 1] = 0.4, 0.1, 0.3, 0.2
        likely = torch.cat([weight.flatten(), torch.zeros(1)]).log()[None, None, None]
        found = Found(likely, torch.zeros(1, 1, 1), [])
        name, still = [Mention(0, 0, 0, 0)], torch.eye(4)[None]
        with_focus, without = (sightings_of(name, found, scenery, still, focused=flag) for flag in (True, False))
        expected = 0.8 * scenery.features[0, 0, 0] + 0.2 * scenery.features[0, 0, 1]
        torch.testing.assert_close(with_focus.features[0, 0], expected)
        assert with_focus.share.item() == pytest.approx(1.0)
        middle = torch.tensor([0.7 / columns, 0.5 / rows])
        torch.testing.assert_close(with_focus.outline[0, 0, :2], middle)
        assert torch.equal(with_focus.crowd, without.crowd)
        torch.testing.assert_close(without.features[0, 0], weight.flatten() @ scenery.features[0, 0])

    def test_answers_teach_words_where_to_look(self):
        model, scenery = self.model(-1.0), self.scenery()
        prompt = question_prompt(TOKENIZER, "Is it the chair?", images=2, answer="yes", with_marks=True)
        found = model.ground([[prompt]], scenery)
        ((slotted,),), names = with_slots([[prompt]], found, scenery.there)
        rows = model.embed_names(sightings_of(names, found, scenery, torch.eye(4).expand(len(names), 4, 4)))
        shown = {NameSlot(k, name.number): mark for name, row in zip(names, rows) for k, mark in enumerate(row)}
        pictures = [torch.zeros(TOKENS, SMALL.language.width)] * 2
        model(model.collate([[slotted]], [pictures], None, [[shown]]))[0].backward()
        assert model.grounding.query.weight.grad.abs().max() > 0
