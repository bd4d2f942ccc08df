"""Fields of a `SampleRequest` that are chosen together. Nothing here needs torch.

What a user gives of a group takes the whole group from whoever else would choose: a model, which
recommends, or a file, which is to be made again.
"""

SOLVER = ("sampler", "num_steps", "nfe", "time_grid", "compat")
GUIDANCE = (
    *("guidance_scale", "guidance_interval", "guidance_schedule"),
    *("guidance_kind", "autoguidance"),
)
