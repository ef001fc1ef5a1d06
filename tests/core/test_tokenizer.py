"""Tokenizer: exact round trips, people's text stays text, and streamed pieces that add up to the whole."""

from __future__ import annotations

import json
import shutil
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_model import refused

from uniugg_core.config import preset
from uniugg_core.errors import ErrorCode
from uniugg_core.tokenizer import SHIPPED_TOKENIZER, SPECIAL_TOKENS, SpatialTokenizer, TextStream

TOKENIZER = SpatialTokenizer.shipped()
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
HOSTILE = st.lists(st.sampled_from([*SPECIAL_TOKENS, "<|", "|>", "im_start", "<", " ", "é", "3"]), max_size=12).map(
    "".join
)


class TestShipped:
    def test_fits_the_tiny_model(self):
        assert len(TOKENIZER) == preset("tiny").language.vocab_size == 2048

    def test_control_tokens_are_the_last_in_a_fixed_order(self):
        backend = TOKENIZER._backend
        assert backend.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(2042, 2048))
        assert (TOKENIZER.padding, TOKENIZER.im_start, TOKENIZER.im_end) == (2042, 2043, 2044)

    def test_transformers_takes_the_folder_as_qwen2(self):
        from transformers import AutoTokenizer

        backend = AutoTokenizer.from_pretrained(SHIPPED_TOKENIZER, local_files_only=True)
        assert type(backend).__name__ == "Qwen2Tokenizer"
        text = "How far is the chair? 2.5 m"
        assert backend.encode(text) == TOKENIZER.encode(text)

    def test_it_knows_its_trade(self):
        assert len(TOKENIZER.encode("How many chairs are in this room?")) <= 10
        assert len(TOKENIZER.encode("the distance between the table and the window")) <= 9

    def test_digits_stand_alone(self):
        assert [TOKENIZER.decode([token]) for token in TOKENIZER.encode("12.50")] == ["1", "2", ".", "5", "0"]


class TestRoundTrip:
    @given(ANY_TEXT)
    @example("ça va 你好 😀\n\n\t x  ")
    @settings(max_examples=200, deadline=None)
    def test_text_survives(self, text):
        assert TOKENIZER.decode(TOKENIZER.encode(text)) == unicodedata.normalize("NFC", text)

    @given(st.text(max_size=20))
    @settings(max_examples=50, deadline=None)
    def test_even_lone_surrogates_are_taken(self, text):
        TOKENIZER.encode(text)

    @given(HOSTILE)
    @settings(max_examples=100, deadline=None)
    def test_control_tokens_in_text_are_characters(self, text):
        tokens = TOKENIZER.encode(text)
        assert not set(tokens) & TOKENIZER.control_ids
        assert TOKENIZER.decode(tokens) == text

    def test_the_backend_alone_would_fall_for_it(self):
        assert TOKENIZER.im_start in TOKENIZER._backend.encode("<|im_start|>")  # so the test above can fail

    def test_control_tokens_have_no_text(self):
        assert TOKENIZER.decode([TOKENIZER.im_start, *TOKENIZER.encode("a"), TOKENIZER.im_end, 10**6]) == "a"


class TestStream:
    def pieces(self, tokens: list[int]) -> list[str]:
        stream = TextStream(TOKENIZER)
        return [stream.push(token) for token in tokens]

    @given(ANY_TEXT)
    @settings(max_examples=200, deadline=None)
    def test_pieces_join_to_the_text(self, text):
        whole = unicodedata.normalize("NFC", text)
        assert "".join(self.pieces(TOKENIZER.encode(text))) == whole.strip()

    @given(st.lists(st.integers(0, 2047), max_size=30))
    @settings(max_examples=200, deadline=None)
    def test_any_tokens_make_valid_text(self, tokens):
        """Whatever the model says, also the half of a character, becomes text that can be sent."""
        said = "".join(self.pieces(tokens))
        said.encode("utf-8")
        assert said == said.strip()
        whole = TOKENIZER.decode(tokens)
        assert whole.strip().startswith(said) or said.rstrip("\ufffd") == whole.strip().rstrip("\ufffd")

    def test_a_character_waits_for_its_last_byte(self):
        pieces = self.pieces(TOKENIZER.encode("😀"))
        assert len(pieces) > 1
        assert pieces == [""] * (len(pieces) - 1) + ["😀"]

    def test_white_space_waits_for_more(self):
        pieces = self.pieces([*TOKENIZER.encode(" a"), *TOKENIZER.encode("\n"), *TOKENIZER.encode("b\n")])
        assert "".join(pieces) == "a\nb"
        assert pieces[1] == ""


class TestFolder:
    def test_saving_keeps_the_bytes(self, tmp_path):
        TOKENIZER.save(tmp_path / "copy")
        for file in SHIPPED_TOKENIZER.iterdir():
            assert (tmp_path / "copy" / file.name).read_bytes() == file.read_bytes()
        assert SpatialTokenizer(tmp_path / "copy").encode("a chair") == TOKENIZER.encode("a chair")

    def test_missing(self, tmp_path):
        refused(ErrorCode.CHECKPOINT_MISSING, SpatialTokenizer, tmp_path / "nowhere")

    @pytest.mark.parametrize("damage", ["not json", "{}", '{"a": "b"}'])
    def test_broken(self, tmp_path, damage):
        folder = tmp_path / "broken"
        shutil.copytree(SHIPPED_TOKENIZER, folder)
        (folder / "vocab.json").write_text(damage)
        refused(ErrorCode.CHECKPOINT_INVALID, SpatialTokenizer, folder)

    def test_control_tokens_that_a_folder_lacks_are_added(self, tmp_path):
        """Plain Qwen2 has no picture tokens; Qwen2.5 has. Either works."""
        folder = tmp_path / "plain"
        shutil.copytree(SHIPPED_TOKENIZER, folder)
        settings_file = folder / "tokenizer_config.json"
        described = json.loads(settings_file.read_text())
        described["added_tokens_decoder"] = dict(list(described["added_tokens_decoder"].items())[:3])
        described["additional_special_tokens"] = described["additional_special_tokens"][:2]
        settings_file.write_text(json.dumps(described))
        plain = SpatialTokenizer(folder)
        assert len(plain) == 2048
        assert plain.im_end == TOKENIZER.im_end
        assert not set(plain.encode("<|image_pad|>")) & plain.control_ids
