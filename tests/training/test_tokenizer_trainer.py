"""The shipped tokenizer is what its script makes."""

from __future__ import annotations

from training.tokenizer import corpus, main
from uniugg_core.tokenizer import SHIPPED_TOKENIZER


def test_the_script_reproduces_what_ships(tmp_path):
    main([str(tmp_path)])
    made = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert made == {file.name: file.read_text() for file in SHIPPED_TOKENIZER.iterdir()}


def test_the_corpus_is_its_seeds():
    assert list(corpus(50, seed=1)) == list(corpus(50, seed=1)) != list(corpus(50, seed=2))
    assert not any("{" in line for line in corpus(500))
