"""A file of weights -> its tensors by name: memory-mapped, and nothing in it executed.

A .safetensors file is a table of names and shapes with the numbers behind it. A .ckpt, .bin, .pt
or .pth file is a pickle: a small program that rebuilds Python objects, and that may call whatever
its author liked. So pickles go through PyTorch's weights-only reader, which knows how to make
tensors, lists and dicts and refuses any other call.

What a file is, its first bytes tell, not its name: renamed files are common.
"""

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

WEIGHTS = ("diffusion_pytorch_model.safetensors", "model.safetensors")  # of diffusers, transformers
PICKLES = ("diffusion_pytorch_model.bin", "pytorch_model.bin")
ZIP, OLD_PICKLE = b"PK\x03\x04", b"\x80\x02"  # how pickles begin: since PyTorch 1.6, and before


class Leftover:
    """An object that we have no use for: takes what a pickle gives it, and does nothing."""

    def __init__(self, *arguments):
        pass

    def __setstate__(self, state):
        pass


# What the training program left beside the weights in the .ckpt files of SD 1.x. PyTorch's reader
# looks these names up in our list and nowhere else: each is a `Leftover` under a borrowed name.
LEFTOVERS = [
    type(name, (Leftover,), {"__module__": module})
    for module, name in (
        ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy", "dtype"),
    )
]


def read(file: str | Path) -> dict[str, Tensor]:
    """All tensors of a file of weights, whatever its format; their numbers stay on disk until used.

    They may be written to: changes stay in memory and never reach the file. FileNotFoundError or
    ValueError says what is wrong with the file and what to do.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}: check the path.")
    if is_pickle(file):
        return tensors_in(unpickle(file), file)
    try:
        with safe_open(file, framework="pt") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}
    except SafetensorError as error:
        raise ValueError(
            f"{file} is not a complete .safetensors file ({error}): the download or copy was cut "
            "short or damaged. Delete it and fetch it again."
        ) from None


def is_pickle(file: Path) -> bool:
    """Is it a pickle, or a .safetensors file? Its first bytes tell; ValueError where neither."""
    with file.open("rb") as opened:
        start = opened.read(512)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 2**40:  # length of the table
        return False
    if start.startswith((ZIP, OLD_PICKLE)):
        return True
    mistakes = {
        "is empty: the download or copy never began": not start,
        "is a pointer of git-lfs, not the weights (run `git lfs pull` where it came from)":
            start.startswith(b"version https://git-lfs"),
        "is a web page, such as a site's error message or licence form, not the weights":
            re.match(rb"\s*<(!doctype|html|\?xml|head|body)", start, re.IGNORECASE),
        "is text in JSON; for a diffusers model give the folder that holds model_index.json":
            re.match(rb"\s*[{\[]", start),
        "is a bare Python pickle, which can run code, not a PyTorch file": start[:1] == b"\x80",
        "is a GGUF file, whose numbers are packed for other programs": start.startswith(b"GGUF"),
        "is not a complete .safetensors file: it was cut short or damaged":
            file.suffix == ".safetensors",
    }  # fmt: skip
    what = next((what for what, found in mistakes.items() if found), None)
    what = what or f"is neither .safetensors nor a PyTorch file: it begins with {start[:8]!r}"
    raise ValueError(f"{file} {what}. Delete it and fetch it again, as .safetensors if you can.")


def unpickle(file: Path):
    """What a PyTorch pickle holds, read without executing anything of it.

    ValueError names the first thing that the file wanted to call, or says that it is damaged.
    """
    if file.suffix == ".safetensors":
        raise ValueError(
            f"{file} is a PyTorch pickle under the name of a .safetensors file: somebody renamed "
            "it, so ask why. Named .ckpt it is read with the care that a pickle needs."
        )
    with file.open("rb") as opened:
        is_zip = opened.read(4) == ZIP  # the older format cannot be memory-mapped
    try:
        with torch.serialization.safe_globals(LEFTOVERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True, mmap=is_zip)
    except UnpicklingError as error:
        called = re.search(r"GLOBAL (\S+) (?:was not|whose module)", str(error))
        if called or re.search("unrecognized function|Can only", str(error)):
            raise ValueError(code_refused(file, called and called[1])) from None
        raise ValueError(damaged(file, error)) from None
    except Exception as error:  # broken bytes can lead the reader to any
        raise ValueError(damaged(file, error)) from None


def code_refused(file: Path, called: str | None) -> str:
    return (
        f"{file} holds more than weights: opening it would call {called or 'a function'}. A pickle "
        "can run any code that way, so it was refused and nothing of it ran. Look for the model as "
        ".safetensors. If you made this file yourself, save its tensors alone: "
        'safetensors.torch.save_file(model.state_dict(), "model.safetensors").'
    )


def damaged(file: Path, error: Exception) -> str:
    told = re.search(r"WeightsUnpickler error:\s*(.+)", str(error))
    why = told[1] if told else re.split(r"\.\s|\n", str(error))[0] or type(error).__name__
    return (
        f"{file} cannot be read as a PyTorch file ({why}): it was cut short or damaged, or "
        "another program made it. Fetch it again, as .safetensors where there is one."
    )


def tensors_in(content, file: Path) -> dict[str, Tensor]:
    """The tensors of an unpickled object: its "state_dict" if it has one, dicts in it flattened."""
    while isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    tensors = dict(named_tensors(content))
    if not tensors:
        raise ValueError(
            f"{file} holds no weights, but {type(content).__name__}: it is not a model's file."
        )
    return tensors


def named_tensors(content, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value.detach()
        elif isinstance(value, dict):
            yield from named_tensors(value, f"{prefix}{name}.")


def metadata(file: Path) -> dict[str, str]:
    """The notes in the head of a .safetensors file; none in any other format."""
    try:
        with safe_open(file, framework="pt") as opened:
            return opened.metadata() or {}
    except SafetensorError:
        return {}


# ---- a folder's part: one file, or shards and their index ----------------------------------------


def read_folder(folder: Path, variant: str | None = None) -> dict[str, Tensor]:
    """The weights of one part of a diffusers folder.

    .safetensors before .bin; without a variant the plain files, else those named fp16. With one,
    such as "fp16" or "non_ema", that and no other. FileNotFoundError says what was found.
    """
    for kind in [variant] if variant else ["", "fp16"]:
        for name in WEIGHTS + PICKLES:
            stem, _, ending = name.rpartition(".")
            dotted = f".{kind}" if kind else ""
            whole = folder / f"{stem}{dotted}.{ending}"
            index = folder / f"{name}.index{dotted}.json"
            if whole.is_file():
                return read(whole)
            if index.is_file():
                return read_shards(index)
    found = sorted(path.name for path in folder.glob("*") if path.name != "config.json")
    raise FileNotFoundError(
        f"{folder} holds no weights{f' of variant {variant!r}' if variant else ''}: expected "
        f"{' or '.join(WEIGHTS)}, or shards with an index, or .bin files; found "
        f"{', '.join(found[:6]) or 'nothing'}. Copy the model's folder again, or name another "
        "variant."
    )


def read_shards(index: Path) -> dict[str, Tensor]:
    """All tensors of the files that an index names."""
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{index} is damaged ({error!r}): copy the folder again.") from None
    tensors = {}
    for shard in sorted(shards):
        if not (index.parent / shard).is_file():
            raise FileNotFoundError(
                f"{index.parent / shard} is missing, although the index beside it names it: copy "
                "the folder again."
            )
        tensors |= read(index.parent / shard)
    return tensors
