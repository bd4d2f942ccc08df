"""Euler–Maruyama: some of the noise that is left is replaced by fresh noise in every step.

The stochastic equation with the marginals of the flow (Song et al. 2021; for flow matching SiT, Ma
et al. 2024, arXiv 2401.08740). From x_t = t·x_1 + (1 − t)·x_0 the score is that of the noise,

    s(x, t) = −E[x_0 | x]/(1 − t) = (t·v − x)/(1 − t),   since x̂_0 = x − t·v,

and for every diffusion w(t) ≥ 0 the density of the flow dx = v dt is also that of

    dx = (v + ½·w·s) dt + √w dB,   as ½·∇·(w·s·p) = ½·w·Δp.
"""

from dataclasses import dataclass

from torch import Tensor

from patch_forcing.core.errors import check_range
from patch_forcing.core.random import Generator
from patch_forcing.sampling.sampler import TrajectorySampler
from patch_forcing.sampling.trajectory import Trajectory


@dataclass(frozen=True)
class EulerMaruyamaSampler(TrajectorySampler):
    """x += Δ·(v − λ·(1 − t)·x̂_0) + (1 − t)·√(2·λ·Δ)·ε at t = τ_k, with Δ = τ_{k+1} − τ_k.

    One evaluation a step, weakly of first order. The last step, which would leave its fresh noise
    in the image, is that of the flow: Euler's, to x̂_1.

    noise: λ ≥ 0, the rate at which noise is replaced: w(t) = 2·λ·(1 − t)². At the end e^{−λ} of the
    first noise is left; 0 is Euler. Steps should stay well below 1/λ.
    """

    # Of noise of size 1 − t a step replaces the share λ·Δ, at any t. With w ∝ 1 − t it would be
    # λ·Δ/(1 − t): the last steps of any grid, however fine, would leave more noise than they claim.

    noise: float = 1.0

    def __post_init__(self) -> None:
        check_range("noise", self.noise, 0, mend="; 0 is Euler")

    def follow(
        self, run: Trajectory, time_grid: list[float] | Tensor, generator: Generator
    ) -> None:
        for k, now, then in run.steps(time_grid):
            time = run.shared_time(now)
            output = run.evaluate(k, time)
            velocity = output.velocity.float()
            if then == 1:
                run.move(velocity, then)
                continue
            noise = run.predict_noise(output, time)
            run.move(velocity - self.noise * (1 - now) * noise, then)
            run.stir((1 - now) * (2 * self.noise * (then - now)) ** 0.5, generator)
