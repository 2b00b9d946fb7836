"""What other losses do to a decoder: the bundled one, trained further in four ways, encoder frozen.

    python data/experiments/vae_sharp.py          # about two minutes on two cores

Squared error alone; absolute error alone; both and a feature distance; all that and a critic.
Writes vae_sharp.json beside itself: errors, sharpness and feature distance on squares that no
training saw. Page 10 draws it.
"""

import json
from pathlib import Path

import torch
from torch import Tensor
from vae_kl import CPU, options, sheet, trained, unseen

import boringfusion_lite as bf
from boringfusion_lite import scenes, scoring, sharpening
from boringfusion_lite.dataset import Pictures
from boringfusion_lite.feature_loss import FeatureLoss
from boringfusion_lite.pipeline import to_pil

WAYS = {  # weights of L1 and L2, then whether features and critic are heard
    "L2": (0.0, 1.0, False, False),
    "L1": (1.0, 0.0, False, False),
    "+ features": (1.0, 1.0, True, False),
    "+ critic": (1.0, 1.0, True, True),
}
SHOWN = 3


def slopes(images: Tensor) -> Tensor:
    """The mean absolute difference of neighbouring pixels: less where edges are blurred."""
    across, down = images.diff(dim=-1).abs(), images.diff(dim=-2).abs()
    return (across.mean() + down.mean()) / 2


@torch.no_grad()
def measured(vae, features: FeatureLoss, images: Tensor) -> dict:
    output = vae.decode(vae.encode(images)).clamp(-1, 1)
    errors = (output - images).square().mean(dim=(1, 2, 3))
    return {
        "psnr": scoring.psnr(errors).mean().item(),
        "sharpness": (slopes(output) / slopes(images)).item(),
        "features": features(output, images).item(),
        "copies": sheet(to_pil(output[:SHOWN])),
    }


def main() -> None:
    args = options(steps=120)
    pictures = Pictures.drawn(scenes.STARTER, args.pictures, args.runs)
    images, _ = unseen(24)
    result = {"steps": args.steps, "drawings": sheet(to_pil(images[:SHOWN])), "decoders": {}}
    clip = bf.load_clip(bf.runtime.bundled_folder()).requires_grad_(False)
    features = FeatureLoss(clip.image_encoder)
    for name, way in {"before": None, **WAYS}.items():
        torch.manual_seed(0)
        vae = bf.load(bf.runtime.bundled_folder()).vae.float()
        both, loss = sharpening.contest(vae, clip.image_encoder, pictures, CPU)
        if way is not None:
            loss.l1, loss.l2, heard, critic = way
            loss.extra.features = features if heard else None
            loss.extra.critic, loss.extra.begins = both.critic if critic else None, 0.0
            loss.batch, loss.crops_until = 2, 2.0
            trained(both, loss, args.steps, 4e-4)
        found = result["decoders"][name] = measured(vae.eval(), features, images)
        numbers = {key: round(n, 4) for key, n in found.items() if key != "copies"}
        print(name, numbers, flush=True)
    Path(__file__).with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
