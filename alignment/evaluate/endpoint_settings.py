"""Settings of an outside judge.  No torch."""

from __future__ import annotations

from alignment.settings import Settings, setting


class EndpointSettings(Settings):
    """An OpenAI-compatible endpoint that judges answers."""

    url: str = setting(
        "http://localhost:8000/v1", "address up to and with /v1; /chat/completions is added", min_length=1
    )
    model: str = setting(..., "the judging model's name, as the endpoint knows it", min_length=1)
    key_variable: str = setting("", "environment variable that holds the key; empty: no key is sent")
    timeout: float = setting(60.0, "seconds to wait for a reply", gt=0)
