"""When letters are hard, and when they settle.

Difficulty: of real images at one time for all patches, the error that a model predicts and the one
that it makes, for patches with letters and without. Settling: of samples, the share of evaluations
after which the one-step prediction says of a place what the sample will say. A letter has settled
when the recogniser reads it in its columns ever after; a patch, when it stays within SETTLED.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from benchmarks.common.difficulty import TIMES
from benchmarks.common.record import Row
from benchmarks.words.data import WordImages, unspelt
from benchmarks.words.recogniser import HELD_OUT, Letter, Recogniser, columns_of, letters_of
from benchmarks.words.spelling import LETTERS, caption
from patch_forcing.core.calibration import network_errors, rank_correlations
from patch_forcing.core.patches import pool
from patch_forcing.core.random import CountedGenerator
from patch_forcing.core.time import PatchTime
from patch_forcing.evaluation.estimate import mean_estimate
from patch_forcing.generation.condition_kinds import condition_kind
from patch_forcing.generation.result import PipelineResult
from patch_forcing.models.dit import PatchDiT

INK = 0.1
"""Standard deviation in a patch, in [−1, 1], above which it shows more than a gradient: 4 % of
other colour suffice, and a gradient's is 0.06 at most."""
SETTLED = 0.1
"""RMS of a patch's last changes, in [−1, 1]."""
REACH = 2
"""Columns to each side of a letter's middle in which it is looked for."""
EARLY = 0.2
"""The time at which difficulty is compared with the order of settling."""


def ink_patches(images: Float[Tensor, "B 3 H W"], patch: int) -> Bool[Tensor, "B N"]:
    """Patches with a part of a letter."""
    by_channel = [pool(c.square(), patch) - pool(c, patch).square() for c in images.split(1, dim=1)]
    return torch.stack(by_channel).amax(0).clamp(min=0).sqrt() > INK


def chance_higher(values: Float[Tensor, " n"], first: Bool[Tensor, " n"]) -> float:
    """How likely one of the first is above one of the others, ties half: the area under the ROC."""
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2).double()[inverse]  # from 1, ties share theirs
    n, m = int(first.sum()), int((~first).sum())
    return float((ranks[first].sum() - n * (n + 1) / 2) / (n * m)) if n and m else float("nan")


@torch.no_grad()
def difficulty_by_time(model: PatchDiT, size: str, count: int, device: str) -> list[Row]:
    """At each time: predicted and true squared errors of both kinds of patches, and how well the
    prediction tells them apart.
    """
    data, ids = WordImages(size, "unseen"), torch.arange(count)
    drawn = data.draw(HELD_OUT, ids, device)
    captions = [caption(word) for word in unspelt(drawn.letters)]
    condition = condition_kind(model).choose(captions).tensor(device)
    x_0 = CountedGenerator(HELD_OUT, ids, device=device).fork("difficulty").normal(*data.shape)
    ink = ink_patches(drawn.images, model.patch_size)
    rows = []
    for t in TIMES:
        shared = PatchTime.shared(torch.full((count,), t, device=device), ink.shape[1])
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            errors = network_errors(model, drawn.images, x_0, shared, condition)
        assert errors.variance is not None
        row: Row = {"t": t}
        for name, where in (("letters", ink), ("background", ~ink)):
            row[name] = float(errors.variance[where].mean())
            row[f"true_{name}"] = float(errors.error[where].mean())
        row["told_apart"] = chance_higher(errors.variance.flatten(), ink.flatten())
        rows.append(row)
    return rows


def settled_after(same: Bool[Tensor, "J ..."]) -> Float[Tensor, "..."]:
    """The share of J evaluations before the first from which on all are the same as the end."""
    ever_after = same.flip(0).long().cumprod(0).sum(0)
    return 1 - ever_after / len(same)


def settling(result: PipelineResult, recogniser: Recogniser, wanted: Sequence[str]) -> Row:
    """When letters and patches of samples settle, and how that goes with place and difficulty.

    result: with its trace. wanted: the word that each sample is to show.
    """
    assert result.trace is not None
    patch, device = result.pixels_per_patch, result.trace[0].prediction.device
    final = result.pixels.to(device).float() / 127.5 - 1
    columns = torch.stack(
        [columns_of(recogniser, call.prediction.clamp(-1, 1)) for call in result.trace]
    )  # (J, B, W)
    close = torch.stack([_near(call.prediction, final, patch) for call in result.trace])
    patches, ink = settled_after(close).cpu(), ink_patches(final, patch).cpu()
    early = next(call for call in result.trace if float(call.state_t.mean()) >= EARLY)
    hard = None if early.difficulty is None else early.difficulty.float().cpu()
    words, rows, cols = [], final.shape[2] // patch, final.shape[3] // patch
    for b, read in enumerate(map(letters_of, columns_of(recogniser, final).tolist())):
        shares = settled_after(_reads(columns[:, b], read))
        difficulty = None
        if hard is not None:
            places = [min(letter.column // patch, cols - 1) for letter in read]
            grid, inked = hard[b].view(rows, cols), ink[b].view(rows, cols).float()
            mean = (grid * inked).sum(0) / inked.sum(0).clamp(min=1)
            difficulty = mean[torch.tensor(places, dtype=torch.int64)]
        words.append((read, shares, difficulty))
    all_shares = torch.cat([shares for _, shares, _ in words])
    letters = torch.tensor([one.letter for read, _, _ in words for one in read], dtype=torch.int64)
    exact = torch.tensor(
        [
            _text(read) == word
            for (read, _, _), word in zip(words, wanted, strict=True)
            for _ in read
        ]
    )
    return {
        "evaluations": len(result.trace),
        "letters": _mean(all_shares),
        "letters_of_right_words": _mean(all_shares[exact]),
        "letters_of_wrong_words": _mean(all_shares[~exact]),
        "letter_patches": _mean(patches[ink]),
        "background_patches": _mean(patches[~ink]),
        "by_place": [
            _mean(torch.stack([s[k] for _, s, _ in words if len(s) > k]))
            for k in range(max((len(s) for _, s, _ in words), default=0))
        ],
        "by_letter": {
            letter: _mean(all_shares[letters == k])
            for k, letter in enumerate(LETTERS)
            if (letters == k).sum() > 1
        },
        "with_place": _correlation([(torch.arange(len(s)).float(), s) for _, s, _ in words]),
        "with_difficulty": _correlation([(d, s) for _, s, d in words if d is not None]),
    }


def _near(prediction: Tensor, final: Tensor, patch: int) -> Bool[Tensor, "B N"]:
    return pool((prediction.clamp(-1, 1) - final).square(), patch).sqrt() < SETTLED


def _reads(columns: Int64[Tensor, "J W"], letters: list[Letter]) -> Bool[Tensor, "J K"]:
    """Whether an evaluation shows each of the letters in its columns."""
    shown = [
        (columns[:, max(0, one.column - REACH) : one.column + REACH + 1] == one.letter).any(1)
        for one in letters
    ]
    return torch.stack(shown, dim=1) if shown else torch.ones(len(columns), 0, dtype=torch.bool)


def _text(letters: list[Letter]) -> str:
    return "".join(LETTERS[one.letter] for one in letters)


def _mean(values: Float[Tensor, " n"]) -> Row | None:
    """With its interval; patches and letters of one image count as independent."""
    if len(values) < 2:
        return None
    estimate = mean_estimate(values)
    return {"value": estimate.value, "interval": list(estimate.interval), "count": len(values)}


def _correlation(pairs: list[tuple[Tensor, Tensor]]) -> Row | None:
    """Spearman's within each word of three letters or more, whose mean over words is reported."""
    correlations = [rank_correlations(a[None], b[None])[0] for a, b in pairs if len(a) > 2]
    values = torch.stack(correlations) if correlations else torch.zeros(0)
    return _mean(values[~values.isnan()])
