"""CLIP score: how well does a picture fit its caption, if CLIP is asked?

The cosine between the picture's and the caption's vector (Hessel et al. 2021, "CLIPScore"). No
labels are needed, which makes it the usual measure; but it sees only what CLIP learned to see, and
a model that was trained with the same CLIP has an easy judge in it.
"""

import torch
from torch import Tensor

from .clip import CLIP
from .features import clip_features
from .tokenizer import Tokenizer


@torch.no_grad()
def clip_scores(clip: CLIP, tokenizer: Tokenizer, images: Tensor, captions: list[str]) -> Tensor:
    """The cosine of each image [B, 3, H, W] in [-1, 1] with its caption: [B], from -1 to 1.

    Hessel et al. report 2.5 times this, and 0 where it is negative. ValueError unless there are as
    many captions as images.
    """
    if len(images) != len(captions):
        raise ValueError(f"{len(images)} images and {len(captions)} captions: give one for each")
    device = clip.logit_scale.device
    texts = [clip.embed_text(ids.to(device)).float().cpu() for ids in tokenizer(captions).split(64)]
    return (clip_features(clip, images) * torch.cat(texts)).sum(dim=1)
