"""CLIP: one transformer reads text, another looks at pictures, and both learn to agree.

Stable Diffusion keeps only the text half, and of that half the vectors *before* the projection:
one per token, [B, 77, width]. The image half and the projections are what trained it
(Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision").
"""

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention
from .tokenizer import END


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The text tower; the defaults are those of Stable Diffusion 1.x.

    SD 2.x has OpenCLIP's ViT-H: width 1024, 16 heads, "gelu", and 23 of its 24 layers. So "the
    penultimate layer's output", which it was trained on, is simply a tower with one layer fewer.
    """

    vocabulary: int = 49_408
    length: int = 77
    width: int = 768
    layers: int = 12
    heads: int = 12
    activation: str = "quick_gelu"  # a name out of ACTIVATIONS


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """The image tower; the defaults are those of CLIP ViT-L/14, SD 1.x's other half."""

    image_size: int = 224
    patch: int = 14
    width: int = 1024
    layers: int = 24
    heads: int = 16


@dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    text: TextConfig = field(default_factory=TextConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    joint_width: int = 768


def quick_gelu(x: Tensor) -> Tensor:
    """CLIP's activation, x * sigmoid(1.702 x): a cheap GELU that its weights expect."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": F.gelu}  # OpenAI's CLIP has the one, OpenCLIP both


class TransformerLayer(nn.Module):
    """Look around (attention), then think alone (MLP); both add to x [B, N, width]."""

    def __init__(self, width: int, heads: int, activation: str = "quick_gelu"):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads=heads, qkv_bias=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, causal: bool = False) -> Tensor:
        x = x + self.attention(self.norm1(x), causal=causal)
        return x + self.mlp_out(self.activation(self.mlp_in(self.norm2(x))))


class TextEncoder(nn.Module):
    """Token ids [B, T <= 77] -> one vector per token [B, T, width], after the final layer norm.

    The mask is causal: a token sees only what stands to its left, so the vector of the start token
    is the same for every prompt, and that of the first end token has seen the whole prompt.
    """

    def __init__(self, config: TextConfig = TextConfig()):
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary, config.width)
        self.position_embedding = nn.Embedding(config.length, config.width)
        self.layers = nn.ModuleList(
            TransformerLayer(config.width, config.heads, config.activation)
            for _ in range(config.layers)
        )
        self.final_norm = nn.LayerNorm(config.width)

    def forward(self, ids: Tensor) -> Tensor:
        if ids.dim() != 2 or ids.shape[1] > self.config.length:
            raise ValueError(
                f"token ids have shape {list(ids.shape)}; expected [batch, at most "
                f"{self.config.length}]; `sd.tokenize(text)` makes them."
            )
        x = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, causal=True)
        return self.final_norm(x)


class ImageEncoder(nn.Module):
    """Images [B, 3, H, W] in [-1, 1] -> one vector each [B, width], that of the class token.

    A vision transformer (Dosovitskiy et al. 2021): the picture is cut into patches, each becomes
    a token, and one extra "class" token collects what matters.
    """

    def __init__(self, config: ImageConfig = ImageConfig()):
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(3, config.width, config.patch, stride=config.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(config.width) * config.width**-0.5)
        positions = (config.image_size // config.patch) ** 2 + 1
        self.position_embedding = nn.Embedding(positions, config.width)
        self.norm_in = nn.LayerNorm(config.width)
        self.layers = nn.ModuleList(
            TransformerLayer(config.width, config.heads) for _ in range(config.layers)
        )
        self.norm_out = nn.LayerNorm(config.width)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)  #     [B, patches, width]
        start = self.class_embedding.expand(len(images), 1, -1)
        x = torch.cat([start, patches], dim=1) + self.position_embedding.weight
        x = self.norm_in(x)
        for layer in self.layers:
            x = layer(x)
        return self.norm_out(x[:, 0])


class CLIP(nn.Module):
    """Both towers and the shared space in which a caption lies close to its picture."""

    def __init__(self, config: CLIPConfig = CLIPConfig(), text_encoder: TextEncoder | None = None):
        super().__init__()
        self.config = config
        self.text_encoder = text_encoder or TextEncoder(config.text)
        self.image_encoder = ImageEncoder(config.image)
        self.text_projection = nn.Linear(config.text.width, config.joint_width, bias=False)
        self.image_projection = nn.Linear(config.image.width, config.joint_width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def embed_text(self, ids: Tensor) -> Tensor:
        """Ids [B, T] -> unit vectors [B, joint_width], read at the first end token of each row."""
        states = self.text_encoder(ids)
        pooled = states[torch.arange(len(ids), device=ids.device), first_end(ids)]
        return F.normalize(self.text_projection(pooled), dim=-1)

    def embed_image(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] -> unit vectors [B, joint_width]."""
        return F.normalize(self.image_projection(self.image_encoder(images)), dim=-1)

    def similarity(self, image_vectors: Tensor, text_vectors: Tensor) -> Tensor:
        """Scaled cosines [images, texts]: the logits of "which caption is of this picture?"."""
        return self.logit_scale.exp() * image_vectors @ text_vectors.T


def first_end(ids: Tensor) -> Tensor:
    """Ids [B, T] -> the place of each row's first end token [B]; in SD 1.x more of them follow."""
    return (ids == END).int().argmax(dim=-1)


def contrastive_loss(logits: Tensor) -> Tensor:
    """Cross-entropy both ways over [B, B] logits whose diagonal holds the true pairs.

    Each picture picks its caption among B, each caption its picture (Radford et al. 2021, fig. 3).
    """
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
