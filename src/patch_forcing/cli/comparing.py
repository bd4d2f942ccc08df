"""`bench samplers`, once its options are read."""

from patch_forcing.cli.bench_samplers import Options
from patch_forcing.core.errors import UserError
from patch_forcing.core.extras import install_line
from patch_forcing.core.registry import build
from patch_forcing.features.emoji import load_emoji_features
from patch_forcing.generation.pipeline import Pipeline, load
from patch_forcing.generation.request import SampleRequest
from patch_forcing.sampling.samplers import SAMPLERS
from patch_forcing.scoring.front import Point, Question, front
from patch_forcing.scoring.front_report import draw_report, table_head, table_row, write_report
from patch_forcing.views.charts import can_draw


def compare_samplers(
    options: Options, names: list[str], budgets: tuple[float, ...], device: str
) -> None:
    """Measure, print and write. Raises UserError if no budget buys a step of any sampler."""
    for name in names:
        build("sampler", SAMPLERS, name)
    chart = options.out.with_suffix(".png")
    pipe = load(options.model, device)
    question = _question(options, budgets, pipe, device)
    points: list[Point] = []
    for point in front(pipe, names, question):
        if not points:
            print(table_head(question))
        print(table_row(point, question), flush=True)
        points.append(point)
    if not points:
        raise UserError(f"--nfe {options.nfe}: no budget buys a step of any of these: give more")
    write_report(points, question, pipe, device, options.out)
    print("\nerror: RMS of pixels (0 to 255) against the same seeds in many more steps")
    print(f"written: {options.out}")
    if not can_draw():
        print(f"no chart, which needs matplotlib: {install_line('bench')}")
        return
    draw_report(points, question, chart)
    print(f"         {chart}")


def _question(
    options: Options, budgets: tuple[float, ...], pipe: Pipeline, device: str
) -> Question:
    """What the samplers are compared at."""
    request = SampleRequest(
        time_grid=options.grid,
        guidance_scale=options.guidance,
        guidance_interval=options.guidance_interval,
    )
    features = load_emoji_features(device=device)
    measured = options.features == "emoji"
    if options.features is None:
        measured = pipe.model.data_info.class_names == features.class_names
    return Question(
        budgets, options.images, request, options.batch_size, features if measured else None
    )
