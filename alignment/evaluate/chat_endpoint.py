"""A chat-completions endpoint (OpenAI's form): one text asked greedily, one reply."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

from alignment.errors import DataError, UsageError
from alignment.evaluate.settings import EndpointSettings


class ChatEndpoint:
    """An outside model behind `/chat/completions`.

    Attributes:
        settings: its address and name; the key is kept apart and shown nowhere.
        asked: requests so far.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        """Raises UsageError if the named environment variable is not set."""
        self.settings = settings
        self.asked = 0
        self._key = os.environ.get(settings.key_variable, "") if settings.key_variable else ""
        if settings.key_variable and not self._key:
            raise UsageError(
                f"endpoint.key_variable names {settings.key_variable}, which is not set; put the key into it, "
                f"or leave key_variable empty"
            )

    def ask(self, text: str) -> str:
        """The greedy reply to one user message.

        Raises:
            DataError: the endpoint does not answer, or with something else than a chat completion.
        """
        self.asked += 1
        body = {"model": self.settings.model, "temperature": 0, "messages": [{"role": "user", "content": text}]}
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        url = f"{self.settings.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=self.settings.timeout) as response:
                reply: Any = json.load(response)
            return str(reply["choices"][0]["message"]["content"])
        except (urllib.error.URLError, TimeoutError, OSError) as error:
            # the error's text names the address and the status, never the headers
            raise DataError(f"{url} does not answer ({error}); an OpenAI-compatible endpoint is needed") from None
        except (ValueError, LookupError, TypeError) as error:
            raise DataError(f"{url} replied with no chat completion ({type(error).__name__})") from None
