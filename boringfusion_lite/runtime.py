"""Where the code runs: device and number format, random numbers, the model's place on disk.

$ python -m boringfusion_lite.runtime        # is everything here that the notebooks need?
"""

import os
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral
from pathlib import Path
from platform import python_version

import torch
import torch.nn.functional as F

SEEDS = 2**63
NEEDED = [  # package, oldest version, what it means where it is missing or older
    ("torch", (2, 6), "FAIL"),
    ("tokenizers", (0, 22), "FAIL"),
    ("transformers", (5, 0), "WARN"),  # a page compares with it
    ("matplotlib", (3, 8), "WARN"),
    ("ipywidgets", (8, 1), "WARN"),
    ("jupyterlab_widgets", (3, 0), "WARN"),  # without it, sliders show up as plain text
]


def pick_device(name: str | torch.device | None = None) -> tuple[torch.device, torch.dtype]:
    """The device to compute on and the number format that suits it.

    Without a name: an NVIDIA or AMD GPU ("cuda") where there is one, else the CPU. float16 is for
    "cuda" only: a CPU is slower with it, or lacks the operation. Apple's "mps" is taken only when
    asked for, in float32, and only if it computes what the CPU does: some versions of macOS and
    torch have given wrong numbers without an error. RuntimeError where the device is not there or
    fails that check, ValueError for an unknown name.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f'Unknown device {name!r}. Choose "cpu", "cuda" or "mps".')
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RuntimeError(
            f'There is no "{device}" here: torch {torch.__version__} sees '
            f'{torch.cuda.device_count()} GPUs. Use device="cpu", or install a torch build made '
            "for your GPU and its driver."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError('"mps" needs a Mac with an Apple GPU. Use device="cpu".')
    if device.type == "mps" and (sample_work(device) - sample_work("cpu")).abs().max() > 1e-2:
        raise RuntimeError(
            f'"mps" computes other numbers here than the CPU (torch {torch.__version__}). Update '
            'macOS and torch, or use device="cpu".'
        )
    return device, torch.float16 if device.type == "cuda" else torch.float32


def sample_work(device: torch.device | str) -> torch.Tensor:
    """A little of everything that the networks do, on fixed numbers: the result, on the CPU."""
    x = torch.arange(2 * 32 * 16 * 16.0).square().sin().reshape(2, 32, 16, 16).to(device)
    weight = x.flatten()[: 32 * 32 * 3 * 3].reshape(32, 32, 3, 3)
    x = F.silu(F.group_norm(F.conv2d(x, weight, padding=1), 8))
    tokens = F.layer_norm(x.flatten(2).transpose(1, 2), (32,)).unflatten(-1, (4, 8)).transpose(1, 2)
    return F.scaled_dot_product_attention(tokens, tokens[:, :, ::2], tokens[:, :, 1::2]).cpu()


def generator(seed: int) -> torch.Generator:
    """Random numbers of their own, always drawn on the CPU: the same seed, the same noise anywhere.

    The global random state is neither read nor set. `seed`: 0 .. 2**63 - 1, else ValueError.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed < SEEDS:
        raise ValueError(f"A seed is a whole number from 0 to 2**63 - 1, not {seed!r}.")
    return torch.Generator("cpu").manual_seed(int(seed))


def bundled_folder() -> Path:
    """Tiny SD's folder: in the package where it was installed, else in the checkout beside it."""
    package = Path(__file__).resolve().parent
    installed = package / "data" / "tiny-sd"
    return installed if installed.is_dir() else package.parent / "data" / "tiny-sd"


def model_folder() -> Path:
    """The model to use: where the environment variable BORINGFUSION_MODEL points, else Tiny SD.

    The variable may name a folder or a single file. FileNotFoundError where nothing is there.
    """
    named = os.environ.get("BORINGFUSION_MODEL")
    path = Path(named).expanduser() if named else bundled_folder()
    if path.exists():
        return path
    why = "BORINGFUSION_MODEL points there" if named else "the bundled model belongs there"
    cure = "Correct or unset the variable." if named else "Install or check out the project again."
    raise FileNotFoundError(f"No model at {path} ({why}). {cure}")


def check_environment() -> bool:
    """Print what the notebooks need, what is here and what to do; False where they cannot run."""
    findings = list(_findings())
    for status, finding in findings:
        print(f"[{status}] {finding}")
    return all(status != "FAIL" for status, _ in findings)


def _findings() -> Iterator[tuple[str, str]]:
    """(OK, WARN or FAIL; what was found and what to do), for everything looked at."""
    new_enough = sys.version_info >= (3, 11)
    yield "OK" if new_enough else "FAIL", f"python {python_version()} (3.11 or newer)"
    for package, oldest, status in NEEDED:
        try:
            found = version(package)
            new_enough = tuple(int(part) for part in found.split(".")[:2]) >= oldest
        except PackageNotFoundError:
            found, new_enough = "is not installed", False
        wanted = f"{package}>={oldest[0]}.{oldest[1]}"
        cure = f'; in the environment that runs JupyterLab: python -m pip install "{wanted}"'
        yield "OK" if new_enough else status, f"{package} {found}{'' if new_enough else cure}"
    if torch.cuda.is_available():
        free, total = (count / 2**30 for count in torch.cuda.mem_get_info())
        yield "OK", f"device: {torch.cuda.get_device_name()}, {free:.1f} of {total:.1f} GiB free"
    else:
        yield "OK", "device: CPU (the bundled model needs no GPU)"
    yield _memory()
    try:
        yield "OK", f"model: {model_folder()}"
    except FileNotFoundError as error:
        yield "FAIL", str(error)


def _memory() -> tuple[str, str]:
    try:
        import psutil  # comes with JupyterLab
    except ImportError:
        return "WARN", "free memory unknown; the notebooks want 2 GiB"
    free = psutil.virtual_memory().available / 2**30
    return "OK" if free >= 2 else "WARN", f"memory: {free:.1f} GiB free (the notebooks want 2)"


if __name__ == "__main__":
    sys.exit(not check_environment())
