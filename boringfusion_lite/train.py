"""Train a tiny Stable Diffusion on drawn scenes: four commands, in this order.

    python -m boringfusion_lite.train vae
    python -m boringfusion_lite.train clip
    python -m boringfusion_lite.train unet          # and CLIP goes on with it
    python -m boringfusion_lite.train publish

The UNet learns on the VAE's latents and the text tower's vectors; `publish` puts the averaged
weights together into a model folder. A fifth command, `vae-again`, trains the decoder further for
the same latents (`sharpening.py`). A run stops when its minutes are spent, counting those of
every earlier call; call it again with more minutes and it goes on from its checkpoint in `runs/`.
With `--start-from data/tiny-sd` a part without a checkpoint begins with the published weights.
All in a row: `python -m boringfusion_lite.train_all`. On several GPUs or machines the same
commands follow `accelerate launch -m` instead of `python -m` (see `processes.py`).

The real Stable Diffusion leaves CLIP as it was. Ours sees so few captions before the UNet starts
that it goes on learning with it (`joint.py`); `--freeze-text` is the real thing.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from tqdm import tqdm

from . import recipes, scenes, sharpening, weights
from .captions import vocabulary
from .checkpoint import load_clip, load_unet, load_vae
from .clip import CLIP
from .dataset import Pictures
from .finished import (
    Denoiser,
    company,
    finished_clip,
    finished_denoiser,
    finished_vae,
    first_vae,
)
from .joint import JointLoss
from .pipeline import StableDiffusion
from .processes import find_team
from .runtime import bundled_folder
from .saving import save
from .schedule import Schedule
from .tokenizer import Tokenizer
from .training import Run
from .unet import UNet
from .vae import VAE


def vae_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    begun = args.start_from and load_vae(args.start_from / "vae").float()
    vae = (begun or weights.start_certain(VAE(recipes.TINY_VAE))).to(args.device)
    loss = recipes.VAELoss(vae, pictures, args.device)
    return Run("vae", vae, loss, args.runs, args.minutes or 40, learning_rate=8e-4)


def vae_again_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    vae = first_vae(args)
    about = {"encoder": weights.fingerprint(vae.encoder), "critic": args.critic}
    if args.critic:
        tower = finished_denoiser(vae, args).clip.image_encoder
        model, loss = sharpening.contest(vae, tower, pictures, args.device)
    else:
        model = sharpening.Decoding(vae).to(args.device)
        loss = recipes.VAELoss(vae, pictures, args.device)
    return Run("vae-again", model, loss, args.runs, args.minutes or 20, 4e-4, about=about)


def clip_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    begun = args.start_from and load_clip(args.start_from)
    clip, tokenizer = begun or weights.start_quiet(CLIP(recipes.TINY_CLIP)), Tokenizer.load()
    weights.forget_unsaid(clip.text_encoder, tokenizer, vocabulary(pictures.world))
    loss = recipes.CLIPLoss(clip.to(args.device), pictures, tokenizer, args.device)
    return Run("clip", clip, loss, args.runs, args.minutes or 12, learning_rate=1e-3)


def unet_run(pictures: Pictures, args: argparse.Namespace) -> Run:
    vae = finished_vae(pictures, args)
    about = company(vae, args)
    cache = args.runs / f"latents-{len(pictures)}-{args.world}-{about['encoder']}.pt"
    with find_team(args.device).local_main_process_first():  # the others read what it has written
        latents = recipes.encode_all(vae, pictures, args.device, cache)
    if args.start_from:
        unet = load_unet(args.start_from / "unet").float()
    else:
        unet = weights.start_silent(UNet(recipes.TINY_UNET))
    clip = finished_clip(args)
    denoiser = Denoiser(unet, clip, not args.freeze_text).to(args.device)
    tokenizer, schedule, text = Tokenizer.load(), Schedule.scaled_linear(), clip.text_encoder
    parts = (unet, text, latents, pictures, tokenizer, schedule, args.device)
    loss = recipes.UNetLoss(*parts, train_text=not args.freeze_text)
    if not args.freeze_text:
        loss = JointLoss(loss, recipes.CLIPLoss(clip, pictures, tokenizer, args.device))
    return Run(
        "unet",
        denoiser,
        loss,
        args.runs,
        args.minutes or 330,
        learning_rate=5e-4,
        slower=("clip.text_encoder.",),
        warm_up=300,
        about=about,
    )


def publish(pictures: Pictures, args: argparse.Namespace) -> None:
    """Write the averaged weights of VAE, UNet and CLIP as one model folder, in float16."""
    args.device = torch.device("cpu")
    vae, tokenizer = finished_vae(pictures, args), Tokenizer.load()
    denoiser = finished_denoiser(vae, args)
    text_encoder = denoiser.clip.text_encoder
    weights.forget_unsaid(text_encoder, tokenizer, vocabulary(pictures.world))
    sd = StableDiffusion(
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        unet=denoiser.unet,
        vae=vae,
        schedule=Schedule.scaled_linear(),
    )
    save(sd, args.output, tokenizer=bundled_folder() / "tokenizer", clip=denoiser.clip)
    print(f"{args.output}: written")


RUNS: dict[str, Callable[[Pictures, argparse.Namespace], Run]] = {
    "vae": vae_run,
    "clip": clip_run,
    "unet": unet_run,
}
LATER: dict[str, Callable[[Pictures, argparse.Namespace], Run]] = {"vae-again": vae_again_run}
WORLDS = {"starter": scenes.STARTER, "all": scenes.WORLD}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m boringfusion_lite.train",
        description="Train one network of Tiny SD on drawn scenes; interrupt and resume at will.",
    )
    parser.add_argument("what", choices=[*RUNS, "publish", *LATER], help="the part to train")
    parser.add_argument("--critic", action="store_true", help="vae-again: against a critic, too")
    add_options(parser)
    args = parser.parse_args(arguments)
    if args.critic and args.what != "vae-again":
        parser.error("--critic belongs to vae-again")
    return args


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
    add("--freeze-text", action="store_true", help="unet: leave CLIP alone")
    add("--start-from", type=Path, help="take what is not in --runs from this model folder")
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
    """Draw the pictures (once), then train one network or publish the model."""
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
