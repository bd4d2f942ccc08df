"""Runs as HTML: each image beside the times and the difficulty of its patches.

Pictures are within the page (data URLs), so that nothing is written to disk.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from patch_forcing.core.patch_grid import patch_grid
from patch_forcing.generation.gallery import sample_rows, settings_of
from patch_forcing.io.image_file import encoded_image
from patch_forcing.studio.run import Run, Seen
from patch_forcing.views.images import to_pil
from patch_forcing.views.maps import LEVEL, difficulty_scale, leads, log_difficulty, time_scale
from patch_forcing.views.scales import TIME, Scale

TIMES = Scale("time of each patch", TIME, 0.0, 1.0, ("0, noise", "1, image"))


class Frame(NamedTuple):
    """What is shown of each image of a run, by its seed; maps by their name, with their scales."""

    images: dict[int, Image.Image]
    maps: dict[str, dict[int, Float[Tensor, " N"]]]
    scales: dict[str, Scale]


def run_html(run: Run, number: int | None = None) -> str:
    """A run at its evaluation of that number, from 1; None is its end, or the last that was seen.

    At the end maps are means over the run, and each image can be downloaded.
    """
    frame = final_frame(run) if number is None else seen_frame(run, number)
    job = run.job
    rows: Sequence[Mapping[str, object]] = ()
    if number is None and run.result is not None:
        rows = [settings_of(row) for row in sample_rows(run.result, job.pipe)]
    cards = [
        _card(frame, seed, caption, job.pipe.pixels_per_patch, rows[i] if rows else None)
        for i, (seed, caption) in enumerate(zip(job.seeds, job.captions, strict=True))
    ]
    if job.before:
        cards.insert(0, _before(job.before))
    legends = "".join(_legend(scale) for scale in frame.scales.values())
    kind = "pf-few" if len(cards) == 1 else "pf-many"
    below = f'<div class="pf-legends">{legends}</div>'
    return f'<div class="pf-cards {kind}">{"".join(cards)}</div>{below}'


def seen_frame(run: Run, number: int) -> Frame:
    """The newest predictions of each image up to an evaluation, and maps of them."""
    seen = run.seen[: max(1, number)]
    latest: dict[int, tuple[Seen, int]] = {}
    for one in seen:
        latest |= {seed: (one, i) for i, seed in enumerate(one.seeds)}
    decoded: dict[int, Tensor] = {}
    images, times, logs = {}, {}, {}
    for seed, (one, i) in latest.items():
        key = id(one)
        if key not in decoded:
            decoded[key] = run.job.decode(one.evaluation.prediction).cpu()
        images[seed] = to_pil(decoded[key][i])
        times[seed] = one.evaluation.t[i]
        if one.evaluation.difficulty is not None:
            logs[seed] = one.evaluation.difficulty[i].clamp(min=1e-12).log()
    maps, scales = {"time": times}, {"time": TIMES}
    if logs:
        maps["difficulty"] = logs
        scales["difficulty"] = difficulty_scale(_all_logs(run))
    return Frame(images, maps, scales)


def final_frame(run: Run) -> Frame:
    """The finished images, and means over the run: of difficulty, and of how far patches were ahead
    if any were, else their time. What was seen last, if it was stopped.
    """
    result = run.result
    if result is None or not result.trace:
        return seen_frame(run, len(run.seen)) if run.seen else Frame({}, {}, {})
    images = dict(zip(result.seeds, result.images, strict=True))
    lead = leads(result.trace).mean(dim=0)
    apart = apart_in_time(run)
    times = lead if apart else torch.ones_like(lead)
    maps = {"time": dict(zip(result.seeds, times, strict=True))}
    scales = {"time": time_scale(lead) if apart else TIMES}
    logs = log_difficulty(result.trace)
    if logs is not None:
        maps["difficulty"] = dict(zip(result.seeds, logs.mean(dim=0), strict=True))
        scales["difficulty"] = difficulty_scale(logs.mean(dim=0))
    return Frame(images, maps, scales)


def apart_in_time(run: Run) -> bool:
    """Whether patches of a finished run had times of their own."""
    trace = () if run.result is None else run.result.trace or ()
    return any(float((one.t.amax(dim=1) - one.t.amin(dim=1)).max()) > LEVEL for one in trace)


def picture_url(image: Image.Image, settings: Mapping[str, object] | None = None) -> str:
    """A PNG as a URL. settings: how it was made, for the file to hold."""
    return _url("image/png", encoded_image(image, "PNG", settings))


def film_url(content: bytes) -> str:
    """A GIF as a URL."""
    return _url("image/gif", content)


def link(name: str, url: str, text: str) -> str:
    """What downloads a URL as a file of that name."""
    return f'<a class="pf-link" download="{escape(name)}" href="{url}">{escape(text)}</a>'


def settings_link(runs: Sequence[Run]) -> str:
    """What downloads the rows of finished runs, as samples.json has them."""
    rows = [
        row
        for run in runs
        if run.result is not None
        for row in sample_rows(run.result, run.job.pipe)
    ]
    text = json.dumps(rows, indent=1)
    return link("samples.json", _url("application/json", text.encode()), "settings as JSON")


def _all_logs(run: Run) -> Tensor:
    """The logarithms of all difficulties that were seen."""
    difficulties = [one.evaluation.difficulty for one in run.seen]
    return torch.cat([d.flatten() for d in difficulties if d is not None]).clamp(min=1e-12).log()


def _card(
    frame: Frame,
    seed: int,
    caption: str,
    pixels_per_patch: int,
    settings: Mapping[str, object] | None,
) -> str:
    """An image, its maps, and what it shows."""
    image = frame.images.get(seed)
    if image is None:
        return f'<figure class="pf-card"><div class="pf-wait">seed {seed} waits</div></figure>'
    url = picture_url(image, settings)
    tiles = [_tile("image", url, f"image of seed {seed}")]
    grid = patch_grid(image.size[::-1], pixels_per_patch)
    for name, maps in frame.maps.items():
        if seed in maps:
            scale = frame.scales[name]
            drawn = scale.draw(maps[seed], grid, grid[::-1])
            tiles.append(_tile(name, picture_url(drawn), f"{name} map of seed {seed}"))
    links = ""
    if settings is not None:
        links = link(f"{seed}.png", url, "PNG")
        links += f'<button type="button" class="pf-link" data-edit="{seed}">edit</button>'
    named = "" if caption == f"seed {seed}" else f"{escape(caption)} · "
    text = f"<figcaption><span>{named}seed {seed}</span>{links}</figcaption>"
    return f'<figure class="pf-card"><div class="pf-tiles">{"".join(tiles)}</div>{text}</figure>'


def _before(pictures: Sequence[tuple[str, Image.Image]]) -> str:
    """What was there first, with links that download it."""
    urls = {name: picture_url(image) for name, image in pictures}
    tiles = [_tile(name.partition(".")[0], url, name) for name, url in urls.items()]
    links = "".join(link(name, url, name) for name, url in urls.items())
    text = f"<figcaption><span>before</span>{links}</figcaption>"
    return f'<figure class="pf-card"><div class="pf-tiles">{"".join(tiles)}</div>{text}</figure>'


def _tile(name: str, url: str, alt: str) -> str:
    return (
        f'<div class="pf-tile"><img class="pf-{name}" alt="{alt}" src="{url}">'
        f"<small>{name}</small></div>"
    )


def _legend(scale: Scale) -> str:
    """The bar of a scale and what its ends are."""
    anchors = [
        "rgb({},{},{})".format(*map(round, colour)) for colour in scale.colours[::51].tolist()
    ]
    low, high = map(escape, scale.ends)
    return (
        f'<div class="pf-legend"><span>{escape(scale.meaning)}</span>'
        f'<div class="pf-bar" style="background:linear-gradient(90deg,{",".join(anchors)})"></div>'
        f"<div><small>{low}</small><small>{high}</small></div></div>"
    )


def _url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
