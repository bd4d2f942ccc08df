"""Which tensors of a checkpoint file are a network's weights.

Trainers keep raw weights, averages of them and the optimizer's state in one file, in dicts within
each other or as names with prefixes. Wrappers add words to names: DDP `module`, torch.compile
`_orig_mod`. A network is found by the name of its patch embedding, and what stands before that name
is its place. So any nesting and any prefix is read, whatever it is called.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from patch_forcing.core.errors import UserError, unknown_name

PATCHES, POSITIONS = "x_embedder.proj.weight", "pos_embed"
GIVE = "give a checkpoint of PFT, SiT, Self-Flow or DiT"
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""DDP, torch.compile, FSDP, recomputed activations; also between the words of a name."""
_NETWORK = re.compile(
    r"(.+\.)?{}".format(rf"\.(?:(?:{'|'.join(_WRAPPERS)})\.)*".join(PATCHES.split(".")))
)
_WORD = r"(?<![a-z]){}(?![a-z])"
_ROLES = re.compile(_WORD.format("(?:(ema|swa|avg|averaged?|shadow|polyak)|online|raw)"), re.I)
"""Words of a place that say what its weights are; the last one counts."""
_OF_OPTIMIZER = re.compile(_WORD.format("(?:opt(?:im(?:izers?)?)?|exp_avg|grads?)"), re.I)
_COUNTERS = ("n_averaged", "num_updates", "decay", "step", "initted")
"""What averages keep beside their weights."""
_LISTED = 4


class NamedWeights(NamedTuple):
    """The weights of one network. place: what stands before their names in the file, or empty."""

    place: str
    average: bool
    tensors: dict[str, Tensor]


class Chosen(NamedTuple):
    """One network of a file. others: the file's other ones. aside: what else stood beside it."""

    weights: NamedWeights
    others: tuple[NamedWeights, ...] = ()
    aside: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What was taken and what was not, in a sentence; empty if there is nothing to say."""
        place, average, tensors = self.weights
        dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
        which = [f"{'the average' if average else 'raw'}, {_shown(place)}"]
        parts = which if place or self.others else []
        parts += [f"{', '.join(dtypes)} as float32"] if dtypes != ["float32"] else []
        if self.others:
            places = [
                f"{_shown(other.place)} (--weights {_option(other)})" for other in self.others
            ]
            parts.append(f"not {_listed(places)}")
        parts += [f"left aside: {_listed(self.aside)}"] if self.aside else []
        return f"weights: {'; '.join(parts)}" if parts else ""


def choose_weights(content: Any, wanted: str | None = None) -> Chosen:
    """The weights of one network in a checkpoint's content.

    wanted: "average", "raw" or a place in the file; None is the average, or raw weights if there
    is none. Networks that are equal in all numbers count as one.
    Raises UserError if there is no such network, or several between which the user has to choose.
    """
    if not isinstance(content, dict):
        raise UserError(f"holds no dict: {GIVE}")
    networks, aside, names = list[NamedWeights](), list[str](), list[str]()
    for place, tensors in _state_dicts(content):
        inside, beside = _networks(place, tensors)
        networks += inside
        aside += beside if inside else []
        names += tensors
    if not networks:
        held = f": it holds {_listed(map(repr, names))}" if names else ""
        raise UserError(f"lacks the tensor {PATCHES!r}, whatever stands before{held}: {GIVE}")
    fixed = [network.tensors[POSITIONS] for network in networks if POSITIONS in network.tensors]
    for network in networks:
        if network.average and fixed:  # some averages are of trained weights alone
            network.tensors.setdefault(POSITIONS, fixed[0])
    candidates = _candidates(networks, wanted, _unnamed_average(content))
    first, *more = candidates
    if not all(_equal(first.tensors, other.tensors) for other in more):
        places = [_shown(network.place) for network in candidates]
        raise UserError(
            f"holds several {'averages' if first.average else 'networks'}, {_listed(places)}: "
            f"choose one, as with --weights {_option(first)}"
        )
    others = tuple(n for n in networks if not any(n is candidate for candidate in candidates))
    return Chosen(first, others, tuple(dict.fromkeys(aside)))


def _candidates(
    networks: list[NamedWeights], wanted: str | None, unnamed: str | None
) -> list[NamedWeights]:
    """Those that are meant, at least one."""
    if wanted not in (None, "average", "raw"):
        chosen = [network for network in networks if network.place == wanted.rstrip(".")]
        if chosen:
            return chosen
        known = {"average", "raw"} | {network.place for network in networks if network.place}
        raise unknown_name("--weights", wanted, known)
    averages = [network for network in networks if network.average]
    raw = [network for network in networks if not network.average]
    if wanted != "raw" and not averages and unnamed:
        raise UserError(
            f"its average {unnamed!r} is a list without names: add --weights raw, or save the "
            "average as a state dict"
        )
    if wanted is not None and not (averages if wanted == "average" else raw):
        held = ", ".join(_shown(network.place) for network in networks)
        kind = "average" if wanted == "average" else "raw weights"
        raise UserError(f"--weights {wanted}: the file holds no {kind}, only {held}: leave it out")
    return raw if wanted == "raw" or not averages else averages


def _state_dicts(content: Mapping[Any, Any], place: str = "") -> Iterator[tuple[str, dict]]:
    """Every dict with tensors of its own, and where it is; none of the optimizer's."""
    tensors = {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for key, value in content.items():
        if isinstance(value, list):
            value = dict(enumerate(value))
        if isinstance(value, dict) and not _OF_OPTIMIZER.match(str(key)):
            yield from _state_dicts(value, _joined(place, str(key)))


def _networks(place: str, tensors: dict[str, Tensor]) -> tuple[list[NamedWeights], list[str]]:
    """The networks of one dict, and the first words of all other names in it."""
    candidates = [match[1] or "" for match in map(_NETWORK.fullmatch, tensors) if match]
    prefixes = [prefix for prefix in candidates if not _OF_OPTIMIZER.search(prefix)]
    weights: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in prefixes}
    aside = []
    without_dots = _without_dots(tensors, weights)
    for key, tensor in tensors.items():
        prefix = max((p for p in prefixes if key.startswith(p)), key=len, default=None)
        if without_dots and key.startswith(without_dots):
            continue
        if key.split(".")[-1] in _COUNTERS and tensor.numel() == 1:
            continue
        if prefix is None:
            aside.append(key.split(".")[0])
            continue
        words = key.removeprefix(prefix).split(".")
        name = ".".join(word for word in words if word not in _WRAPPERS)
        if name in weights[prefix]:
            raise UserError(f"holds {name!r} twice, also as {key!r}: save its state dict again")
        weights[prefix][name] = tensor
    if without_dots:
        names = {name.replace(".", ""): name for known in weights.values() for name in known}
        weights[without_dots] = {
            names.get(key.removeprefix(without_dots), key): tensor
            for key, tensor in tensors.items()
            if key.startswith(without_dots)
        }
    networks = []
    for prefix, of_network in weights.items():
        whole = _joined(place, prefix.rstrip("."))
        roles = [match[1] for match in _ROLES.finditer(whole)]
        networks.append(NamedWeights(whole, bool(roles and roles[-1]), of_network))
    return networks, aside


def _without_dots(tensors: Iterable[str], weights: Mapping[str, object]) -> str:
    """The prefix of an average whose names lost their dots, as latent diffusion's keeps them."""
    ending = PATCHES.replace(".", "")
    prefixes = [key.removesuffix(ending) for key in tensors if key.endswith(ending)]
    return prefixes[0] if prefixes and weights else ""


def _unnamed_average(content: Any, place: str = "") -> str | None:
    """Where an average is that is a list of tensors, if there is one."""
    if isinstance(content, dict):
        inside = (
            _unnamed_average(value, _joined(place, str(key)))
            for key, value in content.items()
            if not _OF_OPTIMIZER.match(str(key))
        )
        return next(filter(None, inside), None)
    is_list = isinstance(content, list) and len(content) > 1
    return place if is_list and _ROLES.search(place) and isinstance(content[0], Tensor) else None


def _equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        tensor.dtype == theirs[name].dtype and tensor.equal(theirs[name])
        for name, tensor in ours.items()
    )


def _joined(place: str, word: str) -> str:
    return f"{place}.{word}" if place and word else place or word


def _option(network: NamedWeights) -> str:
    return network.place or "."


def _shown(place: str) -> str:
    return repr(place[:60]) if place else "without a prefix"


def _listed(words: Iterable[str]) -> str:
    names = list(words)
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
