"""Train a tiny Stable Diffusion on drawn scenes: five commands, in this order.

    python -m boringfusion_lite.train vae
    python -m boringfusion_lite.train clip
    python -m boringfusion_lite.train unet          # and the text tower with it
    python -m boringfusion_lite.train clip-again    # the image tower catches up
    python -m boringfusion_lite.train publish

The UNet learns on the VAE's latents and the text tower's vectors; `publish` puts the averaged
weights together into a model folder. A sixth command, `vae-again`, trains the decoder further for
the same latents (`sharpening.py`). A run stops when its minutes are spent, counting those of
every earlier call; call it again with more minutes and it goes on from its checkpoint in `runs/`.
Where those checkpoints are gone, `--start-from data/tiny-sd` begins with the published weights.
All five in a row: `python -m boringfusion_lite.train_all`. On several GPUs or machines the same
commands follow `accelerate launch -m` instead of `python -m` (see `processes.py`).

The real Stable Diffusion leaves CLIP's text tower as it was. Ours sees so few captions before the
UNet starts that it goes on learning with it; `--freeze-text` is the real thing.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from . import recipes, scenes, sharpening, weights
from .captions import vocabulary
from .checkpoint import load_clip, load_text_encoder, load_unet, load_vae
from .clip import CLIP, TextEncoder
from .dataset import Pictures
from .pipeline import StableDiffusion
from .processes import find_team
from .runtime import bundled_folder
from .saving import save
from .schedule import Schedule
from .tokenizer import Tokenizer
from .training import Run
from .unet import UNet
from .vae import VAE


def state(name: str, runs: Path) -> dict:
    """The checkpoint of an earlier run; FileNotFoundError says which command makes it."""
    file = runs / f"{name}.pt"
    if not file.exists():
        raise FileNotFoundError(
            f"{file} is missing: train that part first, "
            f"`python -m boringfusion_lite.train {name} --runs {runs}`."
        )
    return torch.load(file, map_location="cpu", weights_only=True)


def finished_vae(pictures: Pictures, args: argparse.Namespace) -> VAE:
    """The trained VAE, its latents brought to a common scale measured on a thousand pictures."""
    vae = VAE(recipes.TINY_VAE)
    found = state("vae", args.runs)["average"]
    if (args.runs / "vae-again.pt").exists():
        found = sharpening.with_decoder(found, state("vae-again", args.runs)["average"])
    vae.load_state_dict(found)
    weights.standardise(vae, pictures.images(range(min(1000, len(pictures)))))
    return vae.to(args.device).eval()


def finished_clip(args: argparse.Namespace, run: str = "clip") -> CLIP:
    clip = CLIP(recipes.TINY_CLIP)
    clip.load_state_dict(state(run, args.runs)["average"])
    return clip


def finished_denoiser(args: argparse.Namespace) -> "Denoiser":
    denoiser = Denoiser(UNet(recipes.TINY_UNET), TextEncoder(recipes.TINY_TEXT))
    denoiser.load_state_dict(state("unet", args.runs)["average"])
    return denoiser


class Denoiser(nn.Module):
    """UNet and text tower as one thing to train, or with the tower left as CLIP made it."""

    def __init__(self, unet: UNet, text_encoder: TextEncoder, train_text: bool = True):
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder.requires_grad_(train_text)


def vae_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    begun = args.start_from and load_vae(args.start_from / "vae").float()
    vae = (begun or weights.start_certain(VAE(recipes.TINY_VAE))).to(args.device)
    loss = recipes.VAELoss(vae, pictures, args.device)
    return Run("vae", vae, loss, args.runs, args.minutes or 40, learning_rate=8e-4)


def vae_again_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    vae, tower = VAE(recipes.TINY_VAE), finished_clip(args, "clip-again").image_encoder
    vae.load_state_dict(state("vae", args.runs)["average"])
    both, loss = sharpening.contest(vae, tower, pictures, args.device)
    return Run("vae-again", both, loss, args.runs, args.minutes or 40, learning_rate=4e-4)


def clip_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    begun = args.start_from and load_clip(args.start_from)
    clip, tokenizer = begun or weights.start_quiet(CLIP(recipes.TINY_CLIP)), Tokenizer.load()
    weights.forget_unsaid(clip.text_encoder, tokenizer, vocabulary(pictures.world))
    loss = recipes.CLIPLoss(clip.to(args.device), pictures, tokenizer, args.device)
    return Run("clip", clip, loss, args.runs, args.minutes or 12, learning_rate=1e-3)


def clip_again_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    """Fit the image tower to the text tower that the UNet's training has changed.

    The text tower stays as it is, the rest of CLIP follows (Zhai et al. 2022, "LiT"). A run that
    goes on takes the text tower of today, not that of its checkpoint.
    """
    clip = finished_clip(args).to(args.device)
    clip.text_encoder.requires_grad_(False)
    loss = recipes.CLIPLoss(clip, pictures, Tokenizer.load(), args.device)
    run = Run("clip-again", clip, loss, args.runs, args.minutes or 125, learning_rate=1e-3)
    text = finished_denoiser(args).text_encoder.to(args.device)
    clip.text_encoder.load_state_dict(text.state_dict())
    run.average.weights |= {f"text_encoder.{n}": w.clone() for n, w in text.state_dict().items()}
    return run


def unet_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    cache = args.runs / f"latents-{len(pictures)}-{state('vae', args.runs)['step']}.pt"
    with find_team(args.device).local_main_process_first():  # the others read what it has written
        latents = recipes.encode_all(finished_vae(pictures, args), pictures, args.device, cache)
    if args.start_from:
        unet = load_unet(args.start_from / "unet").float()
        text_encoder = load_text_encoder(args.start_from / "text_encoder").float()
    else:
        unet = weights.start_silent(UNet(recipes.TINY_UNET))
        text_encoder = finished_clip(args).text_encoder
    unet, text_encoder = unet.to(args.device), text_encoder.to(args.device)
    loss = recipes.UNetLoss(
        unet,
        text_encoder,
        latents,
        pictures,
        Tokenizer.load(),
        Schedule.scaled_linear(),
        args.device,
        train_text=not args.freeze_text,
    )
    return Run(
        "unet",
        Denoiser(unet, text_encoder, not args.freeze_text),
        loss,
        args.runs,
        args.minutes or 236,
        learning_rate=5e-4,
        slower=("text_encoder.",),
        warm_up=300,
    )


def publish(pictures: Pictures, args: argparse.Namespace) -> None:
    """Write the averaged weights of the three runs as one model folder, in float16."""
    args.device = torch.device("cpu")
    denoiser, tokenizer = finished_denoiser(args), Tokenizer.load()
    weights.forget_unsaid(denoiser.text_encoder, tokenizer, vocabulary(pictures.world))
    clip = finished_clip(args, "clip-again")
    clip.text_encoder = denoiser.text_encoder
    sd = StableDiffusion(
        tokenizer=tokenizer,
        text_encoder=denoiser.text_encoder,
        unet=denoiser.unet,
        vae=finished_vae(pictures, args),
        schedule=Schedule.scaled_linear(),
    )
    save(sd, args.output, tokenizer=bundled_folder() / "tokenizer", clip=clip)
    print(f"{args.output}: written")


RUNS: dict[str, Callable[[Pictures, argparse.Namespace], Run]] = {
    "vae": vae_run,
    "clip": clip_run,
    "unet": unet_run,
    "clip-again": clip_again_run,
}
LATER: dict[str, Callable[[Pictures, argparse.Namespace], Run]] = {"vae-again": vae_again_run}
WORLDS = {"starter": scenes.STARTER, "all": scenes.WORLD}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m boringfusion_lite.train",
        description="Train one network of Tiny SD on drawn scenes; interrupt and resume at will.",
    )
    parser.add_argument("what", choices=[*RUNS, *LATER, "publish"], help="in this order")
    add_options(parser)
    return parser.parse_args(arguments)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of every command."""
    add = parser.add_argument
    add("--minutes", type=float, help="budget, earlier calls counted in")
    add("--world", choices=WORLDS, default="starter", help="which scenes to draw")
    add("--pictures", type=int, default=16_000, help="how many scenes to draw")
    add("--runs", type=Path, default=Path("runs"), help="checkpoints and caches")
    add("--device", help="cpu, cuda or mps; else the GPU where there is one")
    add("--batch", type=int, help="samples in a step, all processes together")
    add("--accumulate", type=int, default=1, help="pieces that a process cuts its share into")
    add("--freeze-text", action="store_true", help="unet: leave the text tower alone")
    add("--start-from", type=Path, help="begin with a published model's weights")
    add("--output", type=Path, default=bundled_folder(), help="publish: where to")


def watch(run: Run) -> None:
    """Train with a bar that shows seconds, a smoothed loss, steps and samples."""
    smooth, total, quiet = None, 60 * run.minutes, not run.team.is_main_process
    with tqdm(total=total, initial=run.seconds, unit="s", desc=run.name, disable=quiet) as bar:
        for record in run.train():
            smooth = record.loss if smooth is None else 0.98 * smooth + 0.02 * record.loss
            bar.update(record.seconds - bar.n)
            bar.set_postfix(loss=f"{smooth:.4f}", step=record.step, samples=record.samples)
    run.team.wait_for_everyone()  # the checkpoint is written now


def start(what: str, pictures: Pictures, args: argparse.Namespace) -> Run:
    """The run of one command, from its checkpoint or its beginning."""
    torch.manual_seed(0)  # the initial weights; everything later draws from generators of its own
    run = (RUNS | LATER)[what](pictures, args)
    run.loss.batch, run.accumulate = args.batch or run.loss.batch, args.accumulate
    return run


def draw(args: argparse.Namespace) -> Pictures:
    """The pictures to learn from, drawn by one process a machine, once."""
    with find_team(args.device).local_main_process_first():
        return Pictures.drawn(WORLDS[args.world], args.pictures, args.runs)


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures (once), then train one network or publish the three."""
    args = parse(arguments)
    team = find_team(args.device)
    args.device = team.device
    pictures = draw(args)
    if args.what != "publish":
        watch(start(args.what, pictures, args))
    elif team.is_main_process:
        publish(pictures, args)
    team.end_training()


if __name__ == "__main__":
    main()
