"""Models of other libraries under our samplers, and difficulty where a model predicts none."""

from patch_forcing.hosts.calibration import ProxyReport, calibrate
from patch_forcing.hosts.flux import Flux2Host, Flux3Host
from patch_forcing.hosts.host import Host, from_tokens, to_tokens
from patch_forcing.hosts.ideogram import Ideogram4Host
from patch_forcing.hosts.proxies import (
    GuidanceGap,
    PredictionChange,
    PredictionSpread,
    Proxy,
    VelocitySpread,
    with_difficulty,
)
from patch_forcing.hosts.video import LTXVideoHost, WanHost, from_video, to_video

__all__ = [
    "Flux2Host",
    "Flux3Host",
    "GuidanceGap",
    "Host",
    "Ideogram4Host",
    "LTXVideoHost",
    "PredictionChange",
    "PredictionSpread",
    "Proxy",
    "ProxyReport",
    "VelocitySpread",
    "WanHost",
    "calibrate",
    "from_tokens",
    "from_video",
    "to_tokens",
    "to_video",
    "with_difficulty",
]
