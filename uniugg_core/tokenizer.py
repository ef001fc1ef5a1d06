"""Text to token numbers and back, over any tokenizer folder of Qwen2's layout.

The folder may be Qwen2.5's own or the small one that ships with the package: one code path. Text that comes from people
is always plain text here, even where it spells a control token such as ``<|im_start|>``; control tokens are only ever
placed by :mod:`uniugg_core.prompts`.
"""

from __future__ import annotations

import codecs
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ._compat import ensure_torchvision
from .errors import ErrorCode, UniuggError

__all__ = ["SHIPPED_TOKENIZER", "SPECIAL_TOKENS", "SPLIT_PATTERN", "SpatialTokenizer", "TextStream"]

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
)
"""Control tokens of Qwen2.5-VL's family, in the order the shipped tokenizer numbers them."""

SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Qwen2's published rule for splitting text before merging; every digit stands alone."""

SHIPPED_TOKENIZER = Path(__file__).parent / "assets" / "tokenizer"
_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json", "config.json")
_REQUIRED = ("tokenizer_config.json",)


class SpatialTokenizer:
    """A Qwen2 tokenizer with what the prompts and the answer stream need of it.

    Args:
        folder: a folder with ``tokenizer_config.json`` and ``vocab.json`` + ``merges.txt`` or ``tokenizer.json``.
            Its bytes are kept, so :meth:`save` writes them unchanged.

    Raises:
        UniuggError: CHECKPOINT_MISSING or CHECKPOINT_INVALID, naming the folder.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        for name in _REQUIRED:
            if not (folder / name).is_file():
                raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"no tokenizer in {folder}: {name} is missing")
        ensure_torchvision()
        from transformers import Qwen2Tokenizer

        try:
            self._files = {name: (folder / name).read_bytes() for name in _FILES if (folder / name).is_file()}
            self._backend: Any = Qwen2Tokenizer.from_pretrained(str(folder), local_files_only=True)
            missing = [token for token in SPECIAL_TOKENS if token not in self._backend.get_added_vocab()]
            if missing:
                self._backend.add_tokens(missing, special_tokens=True)
        except Exception as error:  # whatever the library raises on a broken file, the caller gets one answer
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder} holds no Qwen2 tokenizer: {error}") from error
        added = self._backend.get_added_vocab()
        self._ids = {token: int(added[token]) for token in SPECIAL_TOKENS}
        self._added = frozenset(int(number) for number in added.values())
        # Cutting a control token's spelling after its first character is enough for it never to be recognised.
        self._spellings = re.compile("|".join(sorted(map(re.escape, added), key=len, reverse=True)))

    @classmethod
    @functools.cache
    def shipped(cls) -> SpatialTokenizer:
        """The small tokenizer of the package (one instance)."""
        return cls(SHIPPED_TOKENIZER)

    def save(self, folder: str | Path) -> None:
        """Writes the tokenizer's files into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self._files.items():
            (folder / name).write_bytes(data)

    def __len__(self) -> int:
        """One more than the largest token number; an embedding needs at least that many rows."""
        return len(self._backend)

    @property
    def im_start(self) -> int:
        """Opens a chat message."""
        return self._ids["<|im_start|>"]

    @property
    def im_end(self) -> int:
        """Closes a chat message."""
        return self._ids["<|im_end|>"]

    @property
    def padding(self) -> int:
        """Fills batches; never attended to."""
        return self._ids["<|endoftext|>"]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Tokens that end an answer."""
        return self.im_end, self.padding

    @property
    def control_ids(self) -> frozenset[int]:
        """All tokens that are no text."""
        return self._added

    def encode(self, text: str) -> list[int]:
        """Token numbers of `text` as plain text; spelled-out control tokens become ordinary characters."""
        # Lone surrogates cannot be encoded; NFC here as well, so that nothing turns into a control token later on.
        text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode("utf-8"))
        cuts = [0, *(match.start() + 1 for match in self._spellings.finditer(text)), len(text)]
        tokens: list[int] = []
        for start, end in zip(cuts, cuts[1:]):
            if start < end:
                tokens += self._backend.encode(text[start:end], add_special_tokens=False)
        return tokens

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token numbers; control tokens have none, broken UTF-8 becomes U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes a token stands for; empty for control tokens and for numbers beyond the vocabulary."""
        if token_id in self._added or not 0 <= token_id < len(self):
            return b""
        characters = self._backend.convert_ids_to_tokens(int(token_id)) or ""
        return bytes(_byte_of()[character] for character in characters)


class TextStream:
    """Turns tokens into pieces of text that can be shown at once.

    Bytes of an unfinished character wait for the rest of it, and white space waits until more text follows, so the
    pieces joined are the final text, without white space at either end.
    """

    def __init__(self, tokenizer: SpatialTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._begun = False

    def push(self, token_id: int) -> str:
        """The text that this token completes; often a word, sometimes nothing."""
        text = self._held + self._decoder.decode(self._tokenizer.token_bytes(token_id))
        if not self._begun:
            text = text.lstrip()
        body = text.rstrip()
        self._held = text[len(body) :]
        self._begun = self._begun or bool(body)
        return body


@functools.cache
def _byte_of() -> dict[str, int]:
    """Byte-level BPE's printable character of each byte, inverted (the published GPT-2 table)."""
    printable: Sequence[int] = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in set(printable)]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(256 + i): byte for i, byte in enumerate(rest)})
    return table
