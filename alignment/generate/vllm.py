"""Sampling from a vLLM server (extra `vllm`), with the weights carried by TRL's client.  No torch until used.

The server is started as TRL documents it (`trl vllm-serve --model …`), which makes it return
log-probabilities of the distribution that it samples from.  Every answer is a request of its own with
its own seed.  vLLM's random numbers are not ours: the same seed gives another answer than the engine's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any

from alignment.errors import AlignmentError, MissingExtra
from alignment.generate.checks import answer_room, check_requests
from alignment.generate.sampler import FinishReason, OnSample, Sample, SampleRequest
from alignment.generate.settings import SamplingSettings
from alignment.generate.stop import Decode, find_stop, text_of

if TYPE_CHECKING:
    from torch import nn

_CONCURRENT = 64  # requests under way; the connections that TRL's client keeps


class VLLMSampler:
    """Samples from a vLLM server; implements `Sampler`.

    Args:
        base_url: of the server.
        context: most positions of the model that is served.
        vocabulary: number of its tokens.
        eos_ids: tokens that end an answer.
        decode: tokens to text; stop texts need it.
        connection_timeout: seconds to wait for the server to come up.

    Raises:
        MissingExtra: vLLM is not installed.
        AlignmentError: the server does not answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        context: int,
        vocabulary: int,
        eos_ids: Sequence[int],
        decode: Decode | None = None,
        connection_timeout: float = 60.0,
    ) -> None:
        try:
            import vllm  # noqa: F401
        except ImportError:
            raise MissingExtra("vllm", "vllm") from None
        from trl.generation.vllm_client import VLLMClient

        try:
            self.client: Any = VLLMClient(base_url=base_url, connection_timeout=connection_timeout)
        except ConnectionError as error:
            raise AlignmentError(
                f"no vLLM server answers at {base_url} ({error}); start one with `trl vllm-serve --model …`"
            ) from error
        self.context, self.vocabulary = context, vocabulary
        self.eos_ids, self.decode = tuple(int(i) for i in eos_ids), decode
        self._connected = False

    def update_weights(self, model: nn.Module) -> None:
        """Send a model's weights to the server; samples drawn afterwards are its."""
        if not self._connected:
            device = next(model.parameters()).device
            self.client.init_communicator(device=device)
            self._connected = True
        self.client.update_model_params(model)
        self.client.reset_prefix_cache()  # keys of the old weights

    def close(self) -> None:
        """End the weight transfer group."""
        if self._connected:
            self.client.close_communicator()
            self._connected = False

    def sample(
        self, requests: Sequence[SampleRequest], settings: SamplingSettings, on_sample: OnSample | None = None
    ) -> list[list[Sample]]:
        """Draw every answer of every request; see `Sampler`.  Raises as `check_requests` does."""
        check_requests(
            requests,
            settings,
            context=self.context,
            vocabulary=self.vocabulary,
            can_decode=self.decode is not None,
        )
        samples: dict[tuple[int, int], Sample] = {}
        with ThreadPoolExecutor(_CONCURRENT) as pool:
            under_way = {
                pool.submit(self._answer, request, seed, settings): (number, index)
                for number, request in enumerate(requests)
                for index, seed in enumerate(request.seeds)
            }
            for future in as_completed(under_way):
                number, index = under_way[future]
                samples[number, index] = future.result()
                if on_sample is not None:
                    on_sample(requests[number], index, samples[number, index])
        return [[samples[n, i] for i in range(len(request.seeds))] for n, request in enumerate(requests)]

    def _answer(self, request: SampleRequest, seed: int, settings: SamplingSettings) -> Sample:
        limit = answer_room(request, settings, self.context)
        answer = self.client.generate(
            prompts=[list(request.prompt_ids)],
            n=1,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            max_tokens=limit,
            logprobs=0,
            generation_kwargs={
                "seed": seed,
                "stop": list(settings.stop),
                "stop_token_ids": list(self.eos_ids),
            },
        )
        tokens = [int(token) for token in answer["completion_ids"][0]]
        log_probs = [float(entry[0]) for entry in answer["logprobs"][0]]
        if settings.temperature == 0:
            log_probs = [0.0] * len(tokens)  # the sampling distribution has one token
        if len(tokens) != len(log_probs):
            raise AlignmentError(
                f"request {request.id!r}: the vLLM server gave {len(tokens)} tokens and {len(log_probs)} "
                f"log-probabilities; there must be one per token"
            )
        keep = None
        if settings.stop and self.decode is not None:
            keep = find_stop(tokens, settings.stop, self.decode)
        ended = keep is not None or (bool(tokens) and tokens[-1] in self.eos_ids)
        reason: FinishReason = "stop" if ended else "length"
        return Sample(
            token_ids=tuple(tokens[:keep]),
            log_probs=tuple(log_probs[:keep]),
            finish_reason=reason,
            text=text_of(tokens[:keep], self.eos_ids, self.decode),
        )
