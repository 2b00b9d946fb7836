"""The judge: a small network that says what is where in a picture, so that pictures can be scored.

    python -m boringfusion_lite.judge --minutes 8        # train it on drawn scenes

It looks for the centres of things, cell by cell (Zhou et al. 2019, "Objects as Points"), and reads
off there which thing it is, its colour and its size. Counts, places and relations are arithmetic on
the centres. It never sees a caption, and learns on drawings and on what the VAE makes of drawings.
"""

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from .blocks import ResBlock
from .checkpoint import WEIGHTS, fill, load_vae, read_folder, read_json
from .dataset import Pictures, shuffled
from .layout import DIAMETERS
from .recipes import generator, mixed_precision
from .runtime import bundled_folder
from .saving import renamed, write_json, write_weights
from .scenes import Scene, World
from .train import WORLDS, finished_vae, watch
from .training import Run
from .vae import VAE

SCENES = {"first": 10_000_000, "split": "all"}  # its own, far from those the models learn from
SIZES = tuple(DIAMETERS)
BUNDLED = bundled_folder().parent / "judge"  # beside the model: it is no part of it


@dataclass(frozen=True)
class Found:
    """One thing in a picture; its centre in picture widths, and how sure the judge is (0 to 1)."""

    thing: str
    colour: str
    size: str
    x: float
    y: float
    confidence: float = 1.0


@dataclass(frozen=True)
class Reading:
    """All that the judge sees in one picture: its things, the surest first, and the whole."""

    things: tuple[Found, ...]
    surroundings: str
    style: str


class Evidence(NamedTuple):
    """What is where on a grid of G x G cells, G = size / 8: the network's logits or, without the
    axis of names, the true indices. A cell speaks of the thing whose centre it holds."""

    things: Tensor  # [B, things + 1, G, G]; the last channel means that there is none
    colours: Tensor  # [B, colours, G, G]
    sizes: Tensor  # [B, 3, G, G]
    surroundings: Tensor  # [B, surroundings]
    styles: Tensor  # [B, styles]


class Judge(nn.Module):
    """A convolutional detector for the things, colours, surroundings and styles of one world."""

    def __init__(self, world: World, size: int = 128, width: int = 48):
        super().__init__()
        self.world, self.size, self.width = world, size, width
        self.layers = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1),
            ResBlock(width, width, groups=8),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            ResBlock(2 * width, 2 * width, groups=8),
            ResBlock(2 * width, 2 * width, groups=8),
            nn.GroupNorm(8, 2 * width),
            nn.SiLU(),
        )
        self.in_a_cell = len(world.things) + 1, len(world.colours), len(SIZES)
        self.in_all = len(world.surroundings), len(world.styles)
        self.cells = nn.Conv2d(2 * width, sum(self.in_a_cell), 1)
        self.whole = nn.Linear(2 * width, sum(self.in_all))

    def forward(self, images: Tensor) -> Evidence:
        """Images [B, 3, H, W] in [-1, 1], of any size, to Evidence."""
        if images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        features = self.layers(images)  #                                [B, 2 * width, G, G]
        whole = self.whole(features.mean(dim=(2, 3))).split(self.in_all, dim=1)
        return Evidence(*self.cells(features).split(self.in_a_cell, dim=1), *whole)

    @torch.no_grad()
    def read(self, images: Tensor, threshold: float = 0.4) -> list[Reading]:
        """Images [B, 3, H, W] in [-1, 1] to one Reading each; the threshold as in `decode`."""
        batches = [batch.to(self.whole.weight) for batch in images.split(64)]
        return [one for batch in batches for one in decode(self(batch), self.world, threshold)]


def decode(evidence: Evidence, world: World, threshold: float = 0.4) -> list[Reading]:
    """Put evidence into words. A thing is where its probability exceeds the threshold and those of
    all things in the cells around; what is too malformed for that counts as no thing."""
    sure, thing = evidence.things.softmax(dim=1)[:, :-1].max(dim=1)  #    [B, G, G]
    colour, size, grid = evidence.colours.argmax(1), evidence.sizes.argmax(1), sure.shape[-1]
    peak = sure == F.max_pool2d(sure, grid // 8 * 2 + 1, stride=1, padding=grid // 8)
    found: list[list[Found]] = [[] for _ in sure]
    for at in map(tuple, (peak & (sure > threshold)).nonzero().tolist()):
        names = world.things[thing[at]], world.colours[colour[at]], SIZES[size[at]]
        picture, y, x = at
        centre = (x + 0.5) / grid, (y + 0.5) / grid
        found[picture].append(Found(*names, *centre, sure[at].item()))
    things = [tuple(sorted(each, key=lambda one: -one.confidence)) for each in found]
    surroundings = [world.surroundings[i] for i in evidence.surroundings.argmax(dim=1)]
    styles = [world.styles[i] for i in evidence.styles.argmax(dim=1)]
    return [Reading(*reading) for reading in zip(things, surroundings, styles)]


def save_judge(judge: Judge, folder: Path) -> None:
    """Write the settings, names of the world included, and the weights in half precision."""
    config = {"world": asdict(judge.world), "size": judge.size, "width": judge.width}
    write_json(folder / "config.json", config)
    write_weights(folder, WEIGHTS[1], renamed(judge, str, torch.float16))


def load_judge(folder: Path | None = None) -> Judge:
    """The bundled judge or the one in a folder, in float32 on the CPU; errors as in `load`."""
    folder = folder or BUNDLED
    config = read_json(folder / "config.json")
    world = World(**{kind: tuple(names) for kind, names in config.pop("world").items()})
    with torch.device("meta"):
        judge = Judge(world, **config)
    fill(judge, read_folder(folder), str, folder)
    return judge.float().eval()


def truth(scenes: list[Scene], world: World, grid: int) -> tuple[Tensor, Evidence]:
    """How near each cell is to a thing's centre [B, G, G], and what a perfect judge would say."""
    axis, shape = (torch.arange(grid) + 0.5) / grid, (len(scenes), 3, grid, grid)
    near, names = torch.zeros(shape)[:, 0], torch.zeros(shape, dtype=torch.long)
    for b, scene in enumerate(scenes):
        for one in scene.placed:
            distance = torch.hypot(axis - one.x, axis[:, None] - one.y) * grid
            mine = (-distance.square() / 2).exp()
            size = min(SIZES, key=lambda name: abs(DIAMETERS[name] - 2 * one.radius))
            name = world.things.index(one.thing), world.colours.index(one.colour), SIZES.index(size)
            names[b] = torch.where(mine > near[b], torch.tensor(name)[:, None, None], names[b])
            near[b] = torch.maximum(near[b], mine)
    surroundings = torch.tensor([world.surroundings.index(scene.surroundings) for scene in scenes])
    styles = torch.tensor([world.styles.index(scene.style) for scene in scenes])
    return near, Evidence(*names.unbind(dim=1), surroundings, styles)


def judge_loss(said: Evidence, near: Tensor, true: Evidence) -> Tensor:
    """The sum of five cross-entropies. The cell at a centre is to name its thing, one far away to
    say "none", those between to share out their probability."""
    log_things = said.things.log_softmax(dim=1)
    named = log_things.gather(1, true.things[:, None])[:, 0]
    thing = -near * named - (1 - near) * log_things[:, -1]
    local = sum(F.cross_entropy(a, b, reduction="none") for a, b in zip(said[1:3], true[1:3]))
    whole = sum(F.cross_entropy(a, b) for a, b in zip(said[3:], true[3:]))
    return (thing + near * local).sum() / near.sum() + whole


def disturbed(images: Tensor, g: torch.Generator) -> Tensor:
    """Images [B, 3, H, W], each a bit brighter or darker, blurred and noisy, by its own share."""
    gain, shift, blur, noise = torch.rand(4, len(images), 1, 1, 1, generator=g)
    images = torch.lerp(images, F.avg_pool2d(images, 3, 1, 1, count_include_pad=False), blur)
    grain = 0.08 * noise * torch.randn(images.shape, generator=g)
    return images * (0.92 + 0.16 * gain) + 0.16 * (shift - 0.5) + grain


@dataclass
class JudgeLoss:
    """Say what is where, on disturbed pictures, as many from each source; never shared out."""

    judge: Judge
    sources: list[Pictures]
    batch: int = 32
    seed: int = 0

    def __call__(self, step: int, progress: float, share=None) -> tuple[Tensor, int]:
        device, images, scenes = self.judge.whole.weight.device, [], []
        for pictures in self.sources:
            each = self.batch // len(self.sources)
            indices = shuffled(len(pictures), each, step, self.seed)
            images.append(pictures.images(indices))
            scenes += map(pictures.scene, indices)
        pixels = disturbed(torch.cat(images), generator(self.seed, step))
        near, true = truth(scenes, self.judge.world, self.judge.size // 8)
        with mixed_precision(device):
            said = self.judge(pixels.to(device, memory_format=torch.channels_last))
        said = Evidence(*(logits.float() for logits in said))
        true = Evidence(*(indices.to(device) for indices in true))
        return judge_loss(said, near.to(device), true), len(scenes)


def rounded(images: Tensor) -> Tensor:
    """Images in [-1, 1] as 8-bit pictures hold them: clipped, in steps of 1/255; float32, CPU."""
    return ((images.float().cpu() + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1


@torch.no_grad()
def through(vae: VAE, images: Tensor) -> Tensor:
    """Images [B, 3, H, W] in [-1, 1] as they come back from the VAE, rounded."""
    batches = [batch.to(vae.quant.weight) for batch in tqdm(images.split(16), "VAE", leave=False)]
    return torch.cat([rounded(vae.decode(vae.encode(batch))) for batch in batches])


def reconstructed(vae: VAE, pictures: Pictures, count: int) -> Pictures:
    """The first `count` pictures as they come back from the VAE."""
    pixels = (through(vae, pictures.images(range(count))) + 1).mul(127.5).round().byte()
    pixels = pixels.permute(0, 2, 3, 1).numpy()
    return replace(pictures, pixels=pixels, places=pictures.places[:count])


def judge_run(sources: list[Pictures], folder: Path, minutes: float, device="cpu", **shape) -> Run:
    """A training run of a new judge, of the given size and width, on pictures of each source."""
    judge = Judge(sources[0].world, **shape).to(device, memory_format=torch.channels_last)
    return Run("judge", judge, JudgeLoss(judge, sources), folder, minutes, learning_rate=3e-3)


def main(arguments: list[str] | None = None) -> None:
    """Train the judge of a model from the command line and write it beside the other parts."""
    parser = argparse.ArgumentParser(prog="python -m boringfusion_lite.judge")
    add = parser.add_argument
    add("--minutes", type=float, default=8, help="budget, earlier calls counted in (%(default)s)")
    add("--world", choices=WORLDS, default="starter", help="which scenes to draw (%(default)s)")
    add("--pictures", type=int, default=16_000, help="how many scenes to draw (%(default)s)")
    add("--copies", type=int, default=3_000, help="how many through the VAE too (%(default)s)")
    add("--runs", type=Path, default=Path("runs"), help="checkpoints and caches (%(default)s)")
    add("--device", type=torch.device, default="cpu", help="cpu, cuda, ... (%(default)s)")
    args = parser.parse_args(arguments)
    torch.manual_seed(0)  # the initial weights
    sources = [Pictures.drawn(WORLDS[args.world], args.pictures, args.runs, **SCENES)]
    folder = bundled_folder() / "vae"
    vae = load_vae(folder).float() if folder.is_dir() else finished_vae(sources[0], args)
    sources.append(reconstructed(vae.to(args.device).eval(), sources[0], args.copies))
    watch(run := judge_run(sources, args.runs, args.minutes, device=args.device))
    run.model.load_state_dict(run.average.weights)
    save_judge(run.model, BUNDLED)


if __name__ == "__main__":
    main()
