"""A vision-language model of transformers, tiny and made here, read from its folder and asked."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.evaluation.benchmarks import Picture
from training.evaluation.respondents import FolderRespondent, respondent
from uniugg_core._compat import ensure_torchvision
from uniugg_core.errors import ErrorCode, UniuggError

TEMPLATE = (
    "USER: {% for part in messages[0]['content'] %}{% if part['type'] == 'image' %}<image> "
    "{% else %}{{ part['text'] }} {% endif %}{% endfor %}ASSISTANT:"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ensure_torchvision()
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    words = ["<pad>", "<s>", "</s>", "<unk>", "<image>", "USER:", "ASSISTANT:", "how", "many", "chairs", "two"]
    plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>"],
    )
    processor = LlavaProcessor(
        CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        image_token="<image>",
        num_additional_image_tokens=1,
    )
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=CLIPVisionConfig(image_size=28, patch_size=14, num_hidden_layers=2, **sizes),
                text_config=LlamaConfig(vocab_size=len(words), num_hidden_layers=1, num_key_value_heads=2, **sizes),
                image_token_index=words.index("<image>"),
            )
        )
    path = tmp_path_factory.mktemp("models") / "tiny-llava"
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def test_a_local_model_is_found_and_answers(folder: Path) -> None:
    who = respondent(str(folder), max_new_tokens=5)
    assert isinstance(who, FolderRespondent)
    assert who.name == "tiny-llava"
    picture = Picture(data=cv2.imencode(".png", np.zeros((30, 40, 3), np.uint8))[1].tobytes())
    one, two = (who("how many chairs", [picture] * count) for count in (1, 2))
    assert two.tokens_in > one.tokens_in > 4  # pictures take tokens
    assert 1 <= one.tokens_out <= 5
    assert who("how many chairs", [picture]) == one  # greedy


def test_folders_that_hold_no_model_are_named(tmp_path: Path) -> None:
    with pytest.raises(UniuggError, match="neither 'ours'") as caught:
        respondent(str(tmp_path / "none"))
    assert caught.value.code == ErrorCode.CHECKPOINT_MISSING
    with pytest.raises(UniuggError, match="not ours .*nor transformers'"):
        respondent(str(tmp_path))
