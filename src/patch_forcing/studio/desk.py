"""What a browser tab does: its runs, watched as views, and what is left of them afterwards."""

import logging
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from html import escape
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from PIL import Image

from patch_forcing.core.errors import UserError
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.studio.draw import apart_in_time, film_url, link, run_html, settings_link
from patch_forcing.studio.form import Form
from patch_forcing.studio.jobs import Job
from patch_forcing.studio.run import Run

LOG = logging.getLogger("patch_forcing")
MAX_DESKS = 32
"""Tabs whose runs are kept; of more, those go that were not used for the longest."""
SHARE = 3
"""After a view, so many times as long as it took to draw passes before the next one."""


class View(NamedTuple):
    """What a page shows of runs.

    html: the pictures. status: a line, or more where several things were chosen. frames: positions
    of the slider, from 1; the last is the end; 0 if there is nothing to slide through.
    busy: whether it goes on. command, python: what makes the same images.
    """

    html: str = ""
    status: str = ""
    frames: int = 0
    busy: bool = False
    command: str = ""
    python: str = ""


class Desk:
    """Runs by the place of the page that shows them. Each tab of a browser has a desk of its own.

    form: what was filled in last. image: what is being edited.
    """

    def __init__(self) -> None:
        self.runs: dict[str, list[Run]] = {}
        self.form: Form | None = None
        self.image: Image.Image | None = None

    def stop(self) -> None:
        """Stop what goes on. What was seen of it stays."""
        for runs in self.runs.values():
            for run in runs:
                run.stop()

    def watch(self, place: str, make: Callable[[], Sequence[Job]]) -> Iterator[View]:
        """Does jobs one after the other, and shows how they go. Whoever leaves early stops them.

        Mistakes become the status of a view, and what was shown before stays.
        """
        self.stop()
        yield View(status="begins …", busy=True)
        try:
            runs = [Run(job) for job in make()]
        except Exception as error:
            yield View(status=fault_line(error))
            return
        self.runs[place] = runs
        for run in runs:
            with closing(run.start().news()) as news:
                yield from self._drawn(place, news)
            if run.result is None:
                break
        yield self.view(place)

    def _drawn(self, place: str, news: Iterator[int]) -> Iterator[View]:
        """A view at some evaluations, so that drawing leaves most of the time to sampling."""
        ready = 0.0
        for _ in news:
            started = time.perf_counter()
            if started < ready:
                continue
            yield self.view(place, busy=True)
            ended = time.perf_counter()
            ready = ended + SHARE * (ended - started)

    def view(self, place: str, busy: bool = False, number: int | None = None) -> View:
        """Runs as they are now, or at a position of the slider."""
        runs = self.runs.get(place, [])
        if not runs:
            return View()
        frames = max(len(run.seen) for run in runs) + 1
        at = None if number is None or number >= frames else number
        sections = [_section(run, at, busy) for run in runs]
        html = f'<div class="pf-runs pf-{len(runs)}">{"".join(sections)}</div>'
        faults = [_fault(run.fault) for run in runs if run.fault]
        stopped = ["stopped; what was seen of it is below"] * any(run.stopped for run in runs)
        lines = faults or [escape(note) for note in (*stopped, *runs[0].job.notes)]
        return View(
            html,
            "<br>".join(lines),
            0 if busy else frames,
            busy,
            "\n".join(run.job.command for run in runs),
            runs[-1].job.python if len(runs) == 1 else _python(runs),
        )

    def picture(self, place: str, seed: int) -> Image.Image:
        """The image of a seed of a finished run. Raises UserError if there is none."""
        for run in self.runs.get(place, []):
            if run.result is not None and seed in run.result.seeds:
                return run.result.images[run.result.seeds.index(seed)]
        raise UserError(f"seed {seed} is not on this page any more: sample it again")

    def extras(self, place: str) -> str:
        """Films of finished runs, and their settings, to be looked at and downloaded."""
        done = [run for run in self.runs.get(place, []) if run.result is not None]
        if not done:
            return _fault("nothing is finished yet: sample first")
        parts = []
        for run in done:
            url = film_url(film(run))
            name = f"{escape(run.job.form.sampler.partition(':')[0])}.gif"
            parts.append(f'<img class="pf-film" alt="film" src="{url}">{link(name, url, "film")}')
        return "".join(parts) + settings_link(done)


def film(run: Run) -> bytes:
    """The making of a finished run's first images, as a GIF."""
    assert run.result is not None
    with tempfile.TemporaryDirectory() as folder:
        return run.result.film(Path(folder) / "film.gif").read_bytes()


class Studio:
    """The models of a page, loaded when they are first used, and the desks of its tabs."""

    def __init__(self, models: Sequence[str], device: str = "cpu"):
        self.models, self.device = list(models), device
        self._pipes: dict[str, Pipeline] = {}
        self._desks: OrderedDict[str, Desk] = OrderedDict()
        self._loading, self._opening = Lock(), Lock()

    def pipe(self, name: str) -> Pipeline:
        """A model of the page. Raises UserError if it is none of them, or cannot be loaded."""
        if name not in self.models:
            raise UserError(f"model {name!r} is not on this page: choose one of the list")
        with self._loading:
            if name not in self._pipes:
                self._pipes[name] = load(name, self.device)
            return self._pipes[name]

    def desk(self, tab: str) -> Desk:
        """That of a tab, which is made if there is none."""
        with self._opening:
            desk = self._desks.setdefault(tab, Desk())
            self._desks.move_to_end(tab)
            while len(self._desks) > MAX_DESKS:
                _, left = self._desks.popitem(last=False)
                left.stop()
            return desk


def fault_line(error: BaseException) -> str:
    """The status of a page that says what went wrong, in one line."""
    if isinstance(error, UserError):
        return _fault(str(error))
    LOG.error("the studio failed", exc_info=error)
    return _fault(f"{type(error).__name__}: {error}")


def _fault(text: str) -> str:
    return f'<span class="pf-fault" role="alert">{escape(" ".join(text.split()))}</span>'


def _section(run: Run, number: int | None, busy: bool) -> str:
    """A run with its heading."""
    if not run.seen:
        return f'<section><p class="pf-head">{escape(run.job.form.sampler)} …</p></section>'
    if number is None and not busy and run.result is not None:
        result = run.result
        means = (
            "Maps are means"
            if apart_in_time(run)
            else "All patches had one time. Difficulty is the mean"
        )
        head = f"{result.title}, {result.seconds:.1f} s. {means} over the run."
        return _titled(head, run_html(run), "pf-done")
    number = len(run.seen) if number is None else min(number, len(run.seen))
    at = run.seen[number - 1].evaluation
    head = (
        f"by {run.job.form.sampler}: call {number}, {at.nfe:.4g} of {run.job.form.nfe:g} "
        f"evaluations spent, mean time {at.t.mean():.2f}"
    )
    return _titled(head, run_html(run, number))


def _titled(head: str, html: str, kind: str = "pf-going") -> str:
    return f'<section class="{kind}"><p class="pf-head">{escape(head)}</p>{html}</section>'


def _python(runs: Sequence[Run]) -> str:
    """The calls of several runs of one model, one after the other."""
    lines = runs[0].job.python.splitlines()
    for number, run in enumerate(runs[1:], 2):
        call, save = run.job.python.splitlines()[-2:]
        lines += [call, save.replace("sheet.png", f"sheet-{number}.png")]
    return "\n".join(lines)
