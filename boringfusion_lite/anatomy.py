"""The UNet row by row: what each row is made of and costs, what flows out of it, its skips scaled.

Hooks only: the UNet stays as it is, and every hook is taken off again, also after an error. Rows
are named after their place in the code: "down 3" is `unet.down[3]`. Notebook 04.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from .probe import readable
from .unet import UNet, UNetStep


def unet_rows(unet: UNet) -> dict[str, UNetStep]:
    """Every row of the UNet under its name, in the order in which they run.

    In SD 1.x: 12 down, 2 in the middle, 12 up.
    """
    ways = {"down": unet.down, "middle": unet.middle, "up": unet.up}
    return {f"{way} {number}": row for way in ways for number, row in enumerate(ways[way])}


def mirror(unet: UNet, row: str) -> str:
    """The row up that receives what a row down saw, and the other way round. Last in, first out."""
    way, number = row.split()
    if row not in unet_rows(unet) or way == "middle":
        raise ValueError(f"{row!r} has no mirror: only rows down and up have one")
    return f"{'up' if way == 'down' else 'down'} {len(unet.down) - 1 - int(number)}"


@dataclass(frozen=True)
class UNetRow:
    """One row of the UNet in one call: what came in, what went out, what it costs."""

    name: str
    place: tuple[int, int, int]  # in the U; lines two models up
    made_of: str
    skip: int  # channels that came over from the mirror row, 0 on the way down
    shape_in: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    device: str
    bytes: int  # of the output
    parameters: int
    ms: float | None  # milliseconds, the fastest of the calls; None on the meta device


def made_of(row: UNetStep) -> str:
    """A row in short words: ResBlock, transformer (two kinds of attention), change of size."""
    kinds = {
        "Conv2d": "conv",
        "ResBlock": "Res",
        "SpatialTransformer": "Attn",
        "Downsample": "half",
        "Upsample": "twice",
    }
    return " + ".join(kinds[type(part).__name__] for part in row.children())


def _places(unet: UNet) -> Iterator[tuple[int, int, int]]:
    """For every row: way (0 down, 1 middle, 2 up), level in its order, number from the level's end.

    So the changes of size, which end a level, line up in models with more or fewer blocks.
    """
    blocks, levels = unet.config.blocks_per_level, len(unet.config.channels)
    yield 0, 0, 0
    for level in range(1, levels + 1):
        yield from ((0, level, number) for number in range(-blocks, int(level < levels)))
    yield from ((1, 0, number) for number in range(2))
    for level in range(levels, 0, -1):
        yield from ((2, -level, number) for number in range(-blocks, 1))


@torch.no_grad()
def unet_table(unet: UNet, x: Tensor, t: int, context: Tensor, calls: int = 1) -> list[UNetRow]:
    """Run the UNet and note what each of its rows did; `ms` is the fastest of several calls.

    x [B, 4, h, w], t, context [B, 77, D] as in `unet(x, t, context)`. On the meta device too, where
    nothing is computed and so nothing can be timed. On a GPU every row is waited for.
    """
    shapes, outputs, began, fastest = {}, {}, {}, {}

    def now() -> float:
        if x.device.type not in ("cpu", "meta"):
            torch.accelerator.synchronize(x.device)
        return perf_counter() * 1000

    def start(name: str, x: Tensor) -> None:
        shapes[name], began[name] = tuple(x.shape), now()

    def stop(name: str, output: Tensor) -> None:
        fastest[name] = min(fastest.get(name, float("inf")), now() - began[name])
        outputs[name] = output

    rows = unet_rows(unet)
    with ExitStack() as hooks:
        for name, row in rows.items():
            before = row.register_forward_pre_hook(lambda m, args, n=name: start(n, args[0]))
            after = row.register_forward_hook(lambda m, args, output, n=name: stop(n, output))
            hooks.callback(before.remove)
            hooks.callback(after.remove)
        for _ in range(calls):
            unet(x, t, context)
    table = []
    for (name, row), place in zip(rows.items(), _places(unet)):
        out = outputs[name]
        table.append(
            UNetRow(
                name=name,
                place=place,
                made_of=made_of(row),
                skip=outputs[mirror(unet, name)].shape[1] if place[0] == 2 else 0,
                shape_in=shapes[name],
                shape=tuple(out.shape),
                dtype=str(out.dtype).removeprefix("torch."),
                device=out.device.type,
                bytes=out.nbytes,
                parameters=sum(parameter.numel() for parameter in row.parameters()),
                ms=None if out.device.type == "meta" else fastest[name],
            )
        )
    return table


def row_table(models: dict[str, list[UNetRow]]):
    """Tables of several UNets side by side, {name: rows}, as an IPython HTML table.

    Rows at the same place of the U stand in one line.
    """
    from IPython.display import HTML

    found = [{row.place: row for row in rows} for rows in models.values()]
    titles = ("row", "made of", "channels in, shape out", "parameters", "bytes", "ms")
    lines = [titles * len(found)]
    for place in sorted({place for rows in found for place in rows}):
        lines.append(sum((_cells(rows.get(place)) for rows in found), ()))
    heads = "".join(
        f'<th colspan="6">{name}, {rows[0].dtype} on {rows[0].device}</th>'
        for name, rows in models.items()
    )
    body = "".join(
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>".replace(" ", "&nbsp;")
        for line in lines
    )
    return HTML(f'<table style="font-size: 80%"><tr>{heads}</tr>{body}</table>')


def _cells(row: UNetRow | None) -> tuple[str, ...]:
    if row is None:
        return ("",) * 6
    channels = row.shape_in[1]
    came = f"{channels - row.skip} + {row.skip}" if row.skip else str(channels)
    ms = "-" if row.ms is None else f"{row.ms:.2f}"
    shape = f"{came} &rarr; {list(row.shape[1:])}"
    return row.name, row.made_of, shape, f"{row.parameters:,}", readable(row.bytes), ms


@contextmanager
def features(unet: UNet, *rows: str) -> Iterator[dict[str, list[Tensor]]]:
    """Keep what flows out of some rows, all if none is named, while the block runs.

    {row: one tensor [B, channels, h, w] for every call of the UNet}. ValueError for unknown rows.
    """
    found = unet_rows(unet)
    if unknown := [row for row in rows if row not in found]:
        raise ValueError(f"no rows {unknown} in this UNet: choose from {', '.join(found)}")
    seen: dict[str, list[Tensor]] = {row: [] for row in rows or found}
    with ExitStack() as hooks:
        for row in seen:

            def keep(module, args, output, row=row) -> None:
                seen[row].append(output.detach())

            hooks.callback(found[row].register_forward_hook(keep).remove)
        yield seen


@contextmanager
def skip_gain(unet: UNet, index: int, gain: float) -> Iterator[None]:
    """Multiply by `gain` what row "down `index`" sends across, while the block runs; 0 cuts it.

    What it sends down stays as it is. index 0 is the outermost skip, the last one the deepest; 1
    changes nothing. ValueError for an index that no skip has.
    """
    if not 0 <= index < len(unet.down):
        raise ValueError(f"skip {index}: this UNet has the skips 0 to {len(unet.down) - 1}")
    width = {}

    def note(module, args, output) -> None:
        width["skip"] = output.shape[1]

    def scale(module, args) -> tuple:
        x, *others = args  # channels of the trunk first, then those of the skip
        trunk, skip = x.split([x.shape[1] - width["skip"], width["skip"]], dim=1)
        return torch.cat([trunk, gain * skip], dim=1), *others

    receiver = unet_rows(unet)[mirror(unet, f"down {index}")]
    with ExitStack() as hooks:
        hooks.callback(unet.down[index].register_forward_hook(note).remove)
        hooks.callback(receiver.register_forward_pre_hook(scale).remove)
        yield
