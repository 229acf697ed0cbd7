"""`align merge`: a stage's adapter and its base as one ordinary model.  No torch until the model is read."""

from __future__ import annotations

from pathlib import Path

from alignment.errors import UsageError
from alignment.policy.adapter import is_adapter
from recipes.masking import safe
from recipes.running.folder import require_run, stage_folders
from recipes.running.record import read_record
from recipes.running.verify import require_unaltered
from recipes.stages.kind import Makes
from recipes.stages.table import STAGES


def merge_stage(run: Path, stage: str, out: Path | None) -> Path:
    """Write the whole model of a stage that trained an adapter, in transformers' format; the stage is left as it is.

    Args:
        out: the new folder; None: `merged/STAGE` in the run's.

    Returns:
        The new folder.

    Raises:
        UsageError: there is no run, no such finished stage, nothing to merge, or something at the new folder's place.
        CheckpointError: a file of the run was altered, or the base is not the one that the adapter was trained on.
        MissingExtra: peft is not installed.
    """
    require_run(run)
    found = {name: (folder, kind) for name, folder, kind in _models(run)}
    if stage not in found:
        raise UsageError(
            f"{run} has no finished model of the stage {stage[:100]!r}; it has {', '.join(found) or 'none'}"
        )
    folder, scores = found[stage]
    if not is_adapter(folder):
        adapters = [name for name, (each, _) in found.items() if is_adapter(each)]
        raise UsageError(
            f"the stage {stage} of {run} trained no adapter: {folder} is a whole model already; stages with an "
            f"adapter: {', '.join(adapters) or 'none'}"
        )
    target = out if out is not None else run / "merged" / stage
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} is there already; nothing is overwritten: name a new folder with --out")
    require_unaltered(run)
    meta = {"stage": stage, "merged": True}
    if scores:
        from reward.model import RewardModel

        RewardModel.load(folder).save(target, meta=meta)
    else:
        from alignment.policy.policy import load_policy, save_policy

        save_policy(load_policy(folder), target, meta=meta)
    return target


def merge_and_tell(run: Path, stage: str, out: Path | None) -> None:
    """`merge_stage`, and say where the model is."""
    print(safe(f"merged: {merge_stage(run, stage, out)}"))


def _models(run: Path) -> list[tuple[str, Path, bool]]:
    """Every finished stage with a model: its name, its checkpoint's folder, and whether the model scores."""
    found = []
    for folder in stage_folders(run):
        record, checkpoint = read_record(folder), folder / "checkpoint"
        if record is None or record.status != "finished" or record.kind not in STAGES:
            continue
        makes = STAGES[record.kind].makes
        if checkpoint.is_dir() and makes & {Makes.POLICY, Makes.CONTROL, Makes.REWARD_MODEL}:
            found.append((record.name, checkpoint, Makes.REWARD_MODEL in makes))
    return found
