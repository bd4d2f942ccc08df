"""Data that were handed in from Python, where a recipe has a source of its own."""

from dataclasses import InitVar, dataclass, field

from patch_forcing.data.batch import Numbered, TrainingData


@dataclass(frozen=True)
class GivenSource:
    """Opened data as a recipe's source.

    type, identity: what run.json keeps of them, which a resumed run compares.
    """

    data: InitVar[TrainingData]
    type: str = field(init=False)
    identity: str | None = field(init=False)

    def __post_init__(self, data: TrainingData) -> None:
        object.__setattr__(self, "_data", data)
        object.__setattr__(self, "type", type(data).__name__)
        identity = data.identity if isinstance(data, Numbered) else None
        object.__setattr__(self, "identity", identity)

    def open(self) -> TrainingData:
        """As it is."""
        data: TrainingData = getattr(self, "_data")  # noqa: B009  # no field: nothing to record
        return data
