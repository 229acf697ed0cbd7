"""A checkpoint of the user's that draws a version's samples in the place of the model that is trained on them.

No torch until a function is called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignment.policy.policy import Policy
    from alignment.text.tokenizer import Tokenizer
    from recipes.stages.context import StageContext
    from rl.settings import SamplesFromSettings

_KEY = "rlhf.rejection.samples_from.path"


def open_sampler(named: SamplesFromSettings, stage: StageContext) -> Policy:
    """Load it, for a stage that runs.

    Raises:
        TokenizerError: it was made with another tokenizer than the run's.
        CheckpointError: it cannot be read.
    """
    from alignment.policy.pairing import require_same_tokenizer
    from alignment.policy.policy import load_policy

    policy = load_policy(named.path, revision=named.revision)
    for note in policy.notes:
        stage.session.progress.note(note)
    require_same_tokenizer(policy.tokenizer, f"{_KEY}: {named.path}", stage.tokenizer(), "the run")
    return policy


def require_sampler_fit(named: SamplesFromSettings | None, tokenizer: Tokenizer) -> None:
    """Look at its tokenizer where its folder is here, before anything runs.

    Raises:
        TokenizerError: it is another than the run's.
    """
    from alignment.policy.pairing import require_same_tokenizer
    from alignment.policy.policy import load_tokenizer

    if named is not None and Path(named.path).is_dir():
        require_same_tokenizer(load_tokenizer(named.path), f"{_KEY}: {named.path}", tokenizer, "the run")
