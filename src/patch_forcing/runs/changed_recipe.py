"""What of its recipe a run may change when it goes on, by itself or by an override."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from patch_forcing.core.errors import UserError, unknown_name
from patch_forcing.data.recorded_source import BEFORE as BEFORE_OF_DATA

MAY_CHANGE = {
    "steps",
    "accumulate",
    "parallel",
    "recompute_activations",
    "checkpoint_every",
    "log_every",
    "sample_every",
    "max_failed_steps",
    "watchdog",
    "data.max_bad_share",
    "text.cache",
}
"""What a resumed run may change without being another run; steps, if nothing depends on them, and
snapshots' distance, if there are any."""
OVERRIDABLE = {
    "steps",
    "batch_size",
    "nll_weight",
    "label_dropout",
    "ema_decay",
    "timesteps",
    "precision",
    "compile",
    "time_nodes",
    "deterministic",
    "optimizer.lr",
    "optimizer.warmup_steps",
    "optimizer.decay_share",
    "optimizer.betas",
    "optimizer.weight_decay",
    "optimizer.clip_norm",
}
"""What a run may go on with though it makes another run of it: weights, averages and the state of
the optimizer stay of use."""
BEFORE: dict[str, Any] = {
    "snapshot_every": 0,
    "time_nodes": 0,
    "train_only": "all",
    **{f"data.{field}": value for field, value in BEFORE_OF_DATA.items()},
    "network.condition": "class",
    "network.position": "sincos",
    "network.condition_size": None,
    "text.encoder": "bytes",
    "text.length": 128,
    "text.bf16": False,
    "text.short": 0.0,
    "text.cache": None,
}
"""What runs did that were begun before these fields were there."""


def check_recipe(
    run: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    may: Collection[str] = (),
    override: Collection[str] = (),
) -> dict[str, Any]:
    """What of the recipe is overridden, by field: what it was and is.

    before, now: its fields by dotted names. may: more fields that may change. override: fields that
    may, though the run is then another one.
    Raises UserError naming the first field that may not differ, and does.
    """
    may_change = {*MAY_CHANGE, *may}
    if before.get("optimizer.decay_share") or now["optimizer.decay_share"]:
        may_change.remove("steps")  # the learning rate was on its way to 0 at the last one
    advice = {field: value for field, value in now.items() if field.startswith("recommended.")}
    may_change |= advice.keys()
    known_before = {field: BEFORE[field] for field in BEFORE if field in now}
    then = {**advice, **known_before, **before}
    if now["snapshot_every"] != 0 != then["snapshot_every"]:
        may_change.add("snapshot_every")
    for field in then.keys() - now.keys():
        raise unknown_name(f"field in {run / 'run.json'}", field, now.keys() - then.keys() or now)
    changes = {}
    for field, value in now.items():
        if field not in then:
            raise UserError(
                f"{run / 'run.json'} lacks {field!r}: restore it, or choose another --out"
            )
        old = then[field]
        if field in may_change or old == value:
            continue
        if field not in override:
            mend = ""
            if field in OVERRIDABLE:
                given = f"{field}={as_option(value)}"
                mend = f" change it by patch-forcing resume {run} --override {given},"
            raise UserError(
                f"{run} was trained with {field}={old!r}, now it is {value!r}: "
                f"use the same value to resume,{mend} or choose another --out"
            )
        changes[field] = [old, value]
    return changes


def as_option(value: object) -> str:
    """A value as a command line has it."""
    if isinstance(value, list | tuple):
        return ",".join(map(as_option, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
