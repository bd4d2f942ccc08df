"""Progress bars of long work."""

import sys

from tqdm import tqdm


def on_terminal() -> bool:
    """Whether somebody watches stderr; a log file, a pipe and a service are no terminals."""
    return sys.stderr is not None and sys.stderr.isatty()


def progress_bar(
    progress: bool | None, *, total: int, unit: str, initial: int = 0, desc: str | None = None
) -> tqdm:
    """A bar on stderr. progress: whether to draw it. None draws it if stderr is a terminal."""
    shown = sys.stderr is not None and (on_terminal() if progress is None else progress)
    return tqdm(total=total, initial=initial, unit=unit, disable=not shown, desc=desc)


def duration(seconds: float) -> str:
    """A time in its two largest units, such as 45 s, 12 min, 3 h 20 min or 2 d 4 h."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if days < 100 else f"{days:,} d"
