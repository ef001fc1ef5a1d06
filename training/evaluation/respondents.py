"""Those who answer: our pipeline, a server that speaks OpenAI's protocol, or a local transformers model.

A respondent is called with a prompt and pictures and returns a :class:`Reply`. `at_once` says how many calls it takes
side by side; the caller owns the threads.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from uniugg_core.errors import ErrorCode, UniuggError

from .benchmarks.base import Picture
from .benchmarks.frames import decode, encoded, spread

__all__ = ["FolderRespondent", "OurRespondent", "Reply", "Respondent", "ServerRespondent", "respondent"]

_RETRIED = {408, 409, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Reply:
    """An answer and what it cost.

    Args:
        text: as it came.
        tokens_in: of prompt and pictures; 0 if the respondent does not say.
        tokens_out: of the answer.
    """

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class Respondent(Protocol):
    """What answers."""

    name: str
    at_once: int

    def __call__(self, prompt: str, pictures: Sequence[Picture]) -> Reply:
        """The answer to `prompt` about the pictures."""


class OurRespondent:
    """Our pipeline; of more pictures than it takes, some are chosen evenly.

    Args:
        pipeline: a :class:`uniugg_core.UniUGGPipeline`.
        max_new_tokens: limit of an answer.
    """

    at_once = 1

    def __init__(self, pipeline: Any, max_new_tokens: int, name: str = "ours") -> None:
        self.pipeline, self.limit, self.name = pipeline, max_new_tokens, name

    def __call__(self, prompt: str, pictures: Sequence[Picture]) -> Reply:
        """The same question has the same answer, without the reasons that ours may say before it."""
        from uniugg_core import Observation
        from uniugg_core.values import conclusion

        images = decode(pictures)
        most = self.pipeline.config.generation.max_images
        if len(images) > most:
            images = [images[index] for index in spread(len(images), most)]
        answer = self.pipeline.answer([Observation(image) for image in images], prompt, max_new_tokens=self.limit)
        return Reply(conclusion(answer.text), tokens_out=answer.tokens)


class ServerRespondent:
    """A server with ``/v1/chat/completions``, such as vLLM, SGLang, llama.cpp or OpenAI's own.

    Args:
        url: of the server, with or without ``/v1``.
        model: the name it serves; None: the first that it lists.
        key: sent as a bearer token, if not empty.
        at_once: calls side by side.
        max_new_tokens: limit of an answer.
        largest: longest side of the pictures sent, in pixels; None: as they are.
        tries: of a call that fails in passing; the pause doubles from `pause` seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        key: str = "",
        at_once: int = 8,
        max_new_tokens: int = 512,
        largest: int | None = None,
        tries: int = 5,
        pause: float = 1.0,
        timeout: float = 300.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UniuggError(ErrorCode.REQUEST_INVALID, f"{url!r} is no address of a server: http(s)://host[:port]")
        self._parts = parts
        base = parts.path.rstrip("/")
        self._base = base if base.endswith("/v1") else f"{base}/v1"
        self._key, self.at_once, self.limit, self.largest = key, at_once, max_new_tokens, largest
        self._tries, self._pause, self._timeout = tries, pause, timeout
        self.name = model or self._first_model()

    def __call__(self, prompt: str, pictures: Sequence[Picture]) -> Reply:
        """Temperature 0; pictures go before the prompt.

        Raises:
            UniuggError: INTERNAL with the server's words, once all tries are spent.
        """
        content: list[dict[str, Any]] = []
        for media, data in encoded(pictures, self.largest):
            address = f"data:{media};base64,{base64.b64encode(data).decode()}"
            content.append({"type": "image_url", "image_url": {"url": address}})
        content.append({"type": "text", "text": prompt})
        body = {
            "model": self.name,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": self.limit,
        }
        said = self._call("POST", "/chat/completions", body)
        try:
            text = said["choices"][0]["message"]["content"] or ""
            usage = said.get("usage") or {}
        except (KeyError, IndexError, TypeError):
            raise UniuggError(ErrorCode.INTERNAL, f"{self._parts.netloc} sent no answer: {str(said)[:200]}") from None
        return Reply(text, int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0))

    def _first_model(self) -> str:
        try:
            return str(self._call("GET", "/models", None)["data"][0]["id"])
        except (KeyError, IndexError, TypeError):
            raise UniuggError(
                ErrorCode.REQUEST_INVALID, f"{self._parts.netloc} lists no model; name one with --served-model"
            ) from None

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        for attempt in range(self._tries):
            last = attempt == self._tries - 1
            try:
                status, data = self._once(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                if last:
                    raise UniuggError(ErrorCode.INTERNAL, f"{self._parts.netloc}: {error}") from None
            else:
                if status == 200:
                    try:
                        return json.loads(data)
                    except ValueError:
                        raise UniuggError(ErrorCode.INTERNAL, f"{self._parts.netloc} sent no JSON") from None
                if status not in _RETRIED or last:
                    words = data[:300].decode("utf-8", "replace")
                    raise UniuggError(ErrorCode.INTERNAL, f"{self._parts.netloc} answered {status}: {words}")
            time.sleep(self._pause * 2**attempt)
        raise UniuggError(ErrorCode.INTERNAL, f"{self._parts.netloc}: no try was made")

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._parts.hostname, self._parts.port, timeout=self._timeout)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        try:
            connection.request(method, self._base + path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


class FolderRespondent:
    """A local vision-language model that transformers knows; nothing is downloaded and none of its code is run.

    Args:
        folder: with config, processor and safetensors.
        device: to run on.
        max_new_tokens: limit of an answer.
    """

    at_once = 1

    def __init__(self, folder: Path, *, device: str = "cpu", max_new_tokens: int = 512) -> None:
        from uniugg_core._compat import ensure_torchvision

        ensure_torchvision()
        from transformers import AutoModelForImageTextToText, AutoProcessor

        try:
            self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            self.model = AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype="auto"
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise UniuggError(ErrorCode.CHECKPOINT_INVALID, f"{folder}: {str(error).splitlines()[0]}") from None
        self.model = self.model.to(device).eval()
        self.limit, self.name = max_new_tokens, folder.name
        self._lock = threading.Lock()

    def __call__(self, prompt: str, pictures: Sequence[Picture]) -> Reply:
        """Greedy, by the model's own chat template."""
        import torch
        from PIL import Image

        content: list[dict[str, Any]] = [
            {"type": "image", "image": Image.fromarray(image)} for image in decode(pictures)
        ]
        content.append({"type": "text", "text": prompt})
        with self._lock, torch.inference_mode():
            inputs = self.processor.apply_chat_template(
                [{"role": "user", "content": content}],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            ).to(self.model.device)
            length = inputs["input_ids"].shape[1]
            tokens = self.model.generate(**inputs, do_sample=False, max_new_tokens=self.limit)[0, length:]
        return Reply(self.processor.decode(tokens, skip_special_tokens=True), length, len(tokens))


def respondent(
    model: str,
    *,
    device: str = "cpu",
    max_new_tokens: int = 512,
    served: str | None = None,
    at_once: int = 8,
    largest: int | None = None,
    key_variable: str = "OPENAI_API_KEY",
) -> Respondent:
    """Whoever `model` names: "ours", an address, or a folder (ours if it is one of ours, else transformers').

    Raises:
        UniuggError: CHECKPOINT_MISSING, CHECKPOINT_INVALID, REQUEST_INVALID.
    """
    if "://" in model:
        return ServerRespondent(
            model,
            model=served,
            key=os.environ.get(key_variable, ""),
            at_once=at_once,
            max_new_tokens=max_new_tokens,
            largest=largest,
        )
    from uniugg_core import UniUGGPipeline

    if model == "ours":
        return OurRespondent(UniUGGPipeline.default(device=device), max_new_tokens)
    folder = Path(model)
    if not folder.is_dir():
        raise UniuggError(ErrorCode.CHECKPOINT_MISSING, f"{model!r} is neither 'ours', an http address nor a folder")
    try:
        pipeline = UniUGGPipeline.from_pretrained(folder, device=device)
    except UniuggError as ours:
        try:
            return FolderRespondent(folder, device=device, max_new_tokens=max_new_tokens)
        except UniuggError as theirs:
            raise UniuggError(theirs.code, f"not ours ({ours.args[0]}), nor transformers' ({theirs.args[0]})") from None
    return OurRespondent(pipeline, max_new_tokens, folder.name)
