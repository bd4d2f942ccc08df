"""What can compute here, shown by computing: torch, processors, GPUs; and the main memory."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from patch_forcing.doctor.finding import Finding, size
from patch_forcing.io.provenance import hardware

_DRIVER = Path("/proc/driver/nvidia/version")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files in which Linux says how much memory a container may use."""


def devices() -> list[Finding]:
    """The processor, and each GPU. Raises whatever torch does if it is broken."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = torch.get_num_threads()
    findings = [
        _computing(
            "cpu", f"{hardware('cpu')}, {cores} cores", {"cores": cores, "threads": threads}
        ),
        Finding("torch", f"{torch.__version__}, {_build()}", {"build": _build()}),
    ]
    if torch.cuda.is_available():
        findings += [_gpu(number) for number in range(torch.cuda.device_count())]
    elif gpus := _nvidia_gpus():
        findings.append(_unused(gpus))
    else:
        findings.append(Finding("gpu", f"none: torch, {_build()}, computes on the processor", []))
    if hasattr(torch.backends, "mps") and torch.backends.mps.is_available():
        findings.append(_computing("mps", "Apple's GPU", {}))
    return findings


def _build() -> str:
    """What torch was built for."""
    import torch

    if torch.version.cuda:
        return f"built for CUDA {torch.version.cuda}"
    return f"built for ROCm {torch.version.hip}" if torch.version.hip else "built for CPUs alone"


def multiplies(device: str) -> str:
    """Multiplies whole numbers on a device; what is wrong with the product, "" if nothing is."""
    import torch

    whole = torch.arange(96 * 96).reshape(96, 96) % 7 - 3
    try:
        x = whole.to(device, torch.float32)
        product = x @ x
        if product.device.type != torch.device(device).type:
            return f"the product lies on {product.device}"
        if not torch.equal(product.cpu().long(), whole @ whole):
            return "the product is wrong"
    except Exception as error:  # torch's, and those of drivers
        return " ".join(str(error).split())[:200]
    return ""


def _computing(device: str, text: str, value: dict[str, Any]) -> Finding:
    """A device that has to multiply."""
    wrong = multiplies(device)
    problem = (
        f"{device} does not compute ({wrong}): install another build of torch" if wrong else ""
    )
    return Finding(device, text, {"name": text, "computes": not wrong, **value}, problem)


def _gpu(number: int) -> Finding:
    import torch

    device = f"cuda:{number}"
    about = torch.cuda.get_device_properties(number)
    free, total = torch.cuda.mem_get_info(number)
    capability = f"{about.major}.{about.minor}"
    text = f"{about.name}, capability {capability}, {size(free)} of {size(total)} free"
    driver = _driver()
    value = {"capability": capability, "free": free, "total": total, "driver": driver}
    return _computing(device, text + (f", driver {driver}" if driver else ""), value)


def _driver() -> str | None:
    """The version of NVIDIA's driver, as Linux says it."""
    try:
        words = _DRIVER.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return None
    return next((word for word in words if word[:1].isdigit() and word.count(".") >= 1), None)


def _nvidia_gpus() -> list[str]:
    """The GPUs that NVIDIA's own tool sees, or that its driver is there for."""
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        try:
            done = subprocess.run(
                [tool, "-L"], capture_output=True, text=True, timeout=4, check=True
            )
            return [line.partition(" (UUID")[0] for line in done.stdout.splitlines() if line]
        except (OSError, subprocess.SubprocessError):
            pass
    return [f"a GPU with driver {_driver()}"] if _DRIVER.exists() else []


def _unused(gpus: list[str]) -> Finding:
    """GPUs are there, and torch does not see them."""
    import torch

    text = ", ".join(gpus)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1", "NoDevFiles"):
        hint = f"CUDA_VISIBLE_DEVICES={hidden!r} hides it: unset that to use it"
        return Finding("gpu", f"{text}, hidden", gpus, hint=hint)
    if not torch.version.cuda:
        mend = "install torch with CUDA: pip install --force-reinstall torch"
        return Finding("gpu", text, gpus, f"torch is {_build()}, and does not use the GPU: {mend}")
    mend = f"update NVIDIA's driver (now {_driver() or 'unknown'}), or install an older torch"
    return Finding("gpu", text, gpus, f"torch, {_build()}, does not see the GPU: {mend}")


def memory() -> list[Finding]:
    """Main memory: all, and what is free of it, or what a container may use."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        rows = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, free = rows["MemTotal"], rows["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):  # other systems
        try:
            total, free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
        except (AttributeError, ValueError, OSError):
            return [Finding("memory", "unknown")]
    limit = min([total, *filter(None, map(_limit, _LIMITS))])
    text = f"{size(limit)}" if limit == total else f"{size(limit)} allowed of {size(total)}"
    if free is not None:
        text += f", {size(min(free, limit))} free"
    return [Finding("memory", text, {"total": total, "limit": limit, "free": free})]


def _limit(file: str) -> int | None:
    try:
        return int(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # "max" is no number
        return None
