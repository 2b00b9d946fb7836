"""Files of Stable Diffusion 1.5's full size: seconds and memory to open them, and the same answers?

    python benchmarks/full_size.py               # prints a table, writes benchmarks/full_size.json
    python benchmarks/full_size.py --tiny        # tries itself on a small model, writes nothing

The weights are random, 1.07 billion of them, since nothing is downloaded. They are written in each
format to a temporary folder (9 GB at most at a time), and opened by this package and by diffusers
in turns, each in a new process, as float32 on the CPU. The first time both also answer the same
inputs: a text, noisy latents, a picture, latents to decode, and a prompt to draw in 20 steps. The
bundled Tiny SD is opened in the same way.

Seconds are from the call to the moment when every weight was read once, of a file that the system
still has at hand: the median of all rounds. Memory is what the process takes more than before the
call, as a share of the file: at its peak, and "own", what it does not share with the file (pages
that are only mapped the system takes back when others need them); of all rounds the largest. Linux
only, since it reads /proc.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import torch

PROMPT = "photo of a couch, photorealistic"
BUNDLED = Path(__file__).resolve().parents[1] / "data" / "tiny-sd"
PARTS = ("text_encoder", "unet", "vae")
WEIGHTS = (".safetensors", ".ckpt", ".bin")
CROSS = re.compile(r"(cross_attention|attn2)\.(to_)?k\.weight")  # reads the text vectors
VERSIONS = "torch", "diffusers", "transformers", "safetensors"


# ---- files ---------------------------------------------------------------------------------------


def random_model(tiny: bool):
    """SD 1.5, or Tiny SD, with PyTorch's own starting weights, stirred."""
    import boringfusion_lite as bf
    from boringfusion_lite import recipes
    from boringfusion_lite.clip import TextConfig, TextEncoder
    from boringfusion_lite.tokenizer import Tokenizer
    from boringfusion_lite.unet import UNet, UNetConfig
    from boringfusion_lite.vae import VAE, VAEConfig

    torch.manual_seed(0)
    configs = TextConfig(), UNetConfig(), VAEConfig()
    if tiny:
        configs = recipes.TINY_TEXT, recipes.TINY_UNET, recipes.TINY_VAE
    networks = [kind(config) for kind, config in zip((TextEncoder, UNet, VAE), configs)]
    sd = bf.StableDiffusion(Tokenizer.load(), *networks, bf.Schedule())
    with torch.no_grad():
        for network in (sd.text_encoder, sd.unet, sd.vae):
            for parameter in network.parameters():
                if parameter.dim() == 1:  # norms begin as ones and zeros, which hides mistakes
                    parameter += 0.1 * torch.randn_like(parameter)
    return sd


def write_single(sd, folder: Path, dtype: torch.dtype) -> Path:
    sd.save(folder / "model.safetensors", dtype=dtype)
    return folder / "model.safetensors"


def write_ckpt(sd, folder: Path, dtype: torch.dtype) -> Path:
    """As training writes it: the weights as "state_dict", beside other things."""
    from safetensors.torch import load_file

    single = write_single(sd, folder, dtype)
    tensors = {name: tensor.clone() for name, tensor in load_file(single).items()}
    torch.save({"state_dict": tensors, "epoch": 1, "global_step": 2}, folder / "model.ckpt")
    single.unlink()
    return folder / "model.ckpt"


def write_folder(sd, folder: Path, dtype: torch.dtype) -> Path:
    sd.save(folder / "model", dtype=dtype)
    return folder / "model"


def write_bin(sd, folder: Path, dtype: torch.dtype) -> Path:
    """A folder whose weights are pickles."""
    from boringfusion_lite.weight_files import read_folder

    written = write_folder(sd, folder, dtype)
    for part in PARTS:
        name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
        tensors = {n: t.clone() for n, t in read_folder(written / part).items()}
        for file in written.glob(f"{part}/*.safetensors*"):  # the index of shards too
            file.unlink()
        torch.save(tensors, written / part / name)
    return written


FORMATS = {  # name -> how to write it, and in which dtype
    "one .safetensors, float32": (write_single, torch.float32),
    "one .ckpt, float32": (write_ckpt, torch.float32),
    "folder of .safetensors, float32": (write_folder, torch.float32),
    "one .safetensors, float16": (write_single, torch.float16),
    "folder of .bin, float16": (write_bin, torch.float16),
}


def size(path: Path) -> int:
    """Bytes of a model's weights."""
    files = [path] if path.is_file() else path.glob("*/*")
    return sum(file.stat().st_size for file in files if file.suffix in WEIGHTS)


# ---- one process ---------------------------------------------------------------------------------


def memory(name: str) -> int:
    """Bytes of this process: RssAnon, VmRSS, or VmHWM, the most that VmRSS ever was."""
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith(name))


def open_ours(path: Path, dtype: torch.dtype):
    import boringfusion_lite as bf

    return bf.load(path, device="cpu", dtype=dtype)


def open_theirs(path: Path, dtype: torch.dtype):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    options = {"torch_dtype": dtype, "local_files_only": True, "safety_checker": None}
    if path.is_file():
        settings = str(path.parent / "settings")
        pipe = StableDiffusionPipeline.from_single_file(path, config=settings, **options)
    else:
        pipe = StableDiffusionPipeline.from_pretrained(path, **options)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    return pipe


def inputs(ids: torch.Tensor, width: int) -> dict[str, torch.Tensor]:
    """The same for both; width: that of the text vectors."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    return {
        "ids": ids,
        "context": draw(1, 77, width),
        "noisy": draw(1, 4, 64, 64),
        "image": draw(1, 3, 256, 256).clamp(-1, 1),
        "latents": draw(1, 4, 32, 32),
    }


@torch.no_grad()
def answers(model, given: dict[str, torch.Tensor], steps: int) -> dict[str, torch.Tensor]:
    """What the networks say to the inputs; the model is ours or a pipeline of diffusers."""
    t, (ids, context, noisy, image, latents) = 500, given.values()
    if hasattr(model, "scheduler"):
        found = {
            "text encoder": model.text_encoder(ids)[0],
            "UNet": model.unet(noisy, t, context).sample,
            "VAE encoder": model.vae.encode(image).latent_dist.mean,
            "VAE decoder": model.vae.decode(latents).sample,
        }
        options = {"num_inference_steps": steps, "latents": latents, "output_type": "pt"}
        if steps:
            found[f"{steps} steps"] = model(PROMPT, height=256, width=256, **options).images
    else:
        found = {
            "text encoder": model.text_encoder(ids),
            "UNet": model.unet(noisy, t, context),
            "VAE encoder": model.vae.moments(image)[0],
            "VAE decoder": model.vae.decode(latents * model.vae.config.scaling_factor),
        }
        if steps:
            *_, last = model.sample(PROMPT, steps=steps, noise=latents)
            found[f"{steps} steps"] = (model.vae.decode(last.x) / 2 + 0.5).clamp(0, 1)
    return found


def child(which: str, path: Path, output: Path, dtype: torch.dtype, steps: int | None) -> None:
    """Open the file in a new process, answer the inputs, and print what it took as JSON."""
    from boringfusion_lite.tokenizer import Tokenizer

    opening = {"ours": open_ours, "diffusers": open_theirs}[which]
    ids = Tokenizer.load()([PROMPT])
    if which == "diffusers":
        import diffusers.pipelines.stable_diffusion  # noqa: F401  what is imported is not measured
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts anew
    own, whole, began = memory("RssAnon"), memory("VmRSS"), time.perf_counter()
    model = opening(path, dtype)
    for network in (getattr(model, part) for part in PARTS):
        sum(parameter.float().sum() for parameter in network.parameters())  # read every page
    taken = {
        "seconds": time.perf_counter() - began,
        "own": memory("RssAnon") - own,
        "peak": max(memory("VmHWM"), memory("VmRSS")) - whole,
    }
    width = next(w for n, w in model.unet.named_parameters() if CROSS.search(n)).shape[1]
    if steps is not None:
        torch.save(answers(model, inputs(ids, width), steps), output)
    print(json.dumps(taken))


# ---- all of them ---------------------------------------------------------------------------------


def opened(which: str, path: Path, folder: Path, steps: int | None) -> tuple[dict, dict]:
    """In a new process: what opening took, and the answers (none where `steps` is None)."""
    output = folder / f"{which}.pt"
    command = [sys.executable, __file__, "--child", which, str(path), str(output)]
    command += ["--only-open"] if steps is None else ["--steps", str(steps)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    if run.returncode:
        raise SystemExit(f"{which} failed on {path.name}:\n{run.stderr}")
    found = {} if steps is None else torch.load(output, weights_only=True)
    return json.loads(run.stdout.splitlines()[-1]), found


def measure(path: Path, folder: Path, steps: int, rounds: int) -> dict:
    """Open a model with both, in turns, and compare their answers."""
    taken, found = {"ours": [], "diffusers": []}, {}
    for number in range(rounds):
        for which, times in taken.items():
            one, answer = opened(which, path, folder, None if number else steps)
            times.append(one)
            found.setdefault(which, answer)
    row = {"file": size(path)}
    for which, times in taken.items():
        seconds = [round(one["seconds"], 3) for one in times]
        row[which] = {"seconds": statistics.median(seconds), "of each round": seconds}
        row[which] |= {key: max(one[key] for one in times) for key in ("own", "peak")}
    ours, theirs = found["ours"], found["diffusers"]
    row["differences"] = {what: (ours[what] - theirs[what]).abs().max().item() for what in theirs}
    row["spread"] = {what: theirs[what].std().item() for what in theirs}
    return row


def written(name: str, folder: Path, sd, steps: int, rounds: int) -> dict:
    """Write one format, measure it, and take the file away."""
    write, dtype = FORMATS[name]
    path = write(sd, folder, dtype)
    row = measure(path, folder, steps, rounds)
    for weights in [path] if path.is_file() else path.glob("*/*"):
        if weights.suffix in WEIGHTS:
            weights.unlink()
    return row


def table(rows: dict) -> str:
    """Seconds, memory and the largest differences as lines of text."""
    both = "".join(f" | {who:>9}{'peak':>8}{'own':>8}" for who in ("ours", "diffusers"))
    lines = [f"{'':32}{'file':>8}{both} |  largest difference"]
    for name, row in rows.items():
        cells = f"{name:32}{row['file'] / 1e9:5.2f} GB"
        for which in ("ours", "diffusers"):
            taken = row[which]
            share = [f"{taken[key] / row['file']:7.2f}x" for key in ("peak", "own")]
            cells += f" | {taken['seconds']:8.1f}s{''.join(share)}"
        differences = ", ".join(f"{k} {v:.0e}" for k, v in row["differences"].items())
        lines.append(f"{cells} |  {differences}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where to write the files (a temporary one)")
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--steps", type=int, default=20, help="of a drawing at 256 pixels; 0: none")
    parser.add_argument("--tiny", action="store_true", help="a small model, to try this script")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--rounds", type=int, default=3, help="how often each opens each (3)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--only-open", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        (which, path, output), steps = args.child, None if args.only_open else args.steps
        return child(which, Path(path), Path(output), torch.float32, steps)
    with tempfile.TemporaryDirectory(dir=args.folder) as temporary:
        folder, sd = Path(temporary), random_model(args.tiny)
        sd.save(folder / "settings")
        for weights in (folder / "settings").glob("*/*.safetensors"):
            weights.unlink()  # diffusers wants the settings of a single file from elsewhere
        how = args.steps, args.rounds
        rows = {name: written(name, folder, sd, *how) for name in args.formats}
        bundled = measure(BUNDLED, folder, *how)
    print(table(rows | {"the bundled Tiny SD, float16": bundled}))
    if not args.tiny:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        found = {"command": "python benchmarks/full_size.py", "steps": args.steps}
        found |= {"machine": machine, "versions": {name: version(name) for name in VERSIONS}}
        found |= {"formats": rows, "bundled": bundled}
        args.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
