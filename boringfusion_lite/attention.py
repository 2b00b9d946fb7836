"""Multi-head attention: the one part that the text encoder, the UNet and the VAE share.

A query asks, keys answer how well they fit, and the fitting values are averaged. In
self-attention all three come from the same sequence; in cross-attention the keys and values come
from another one (the picture asks, the words answer). There is one code path, PyTorch's fused
kernel; `probe.py` recomputes the weights from `q` and `k` when somebody wants to look at them.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """softmax(q k^T / sqrt(d)) v over several heads (Vaswani et al. 2017, eq. 1).

    x [B, N, width], context [B, M, context_width] -> [B, N, width]. Without a context, x attends
    to itself; `causal` lets position n see only positions 0..n.
    """

    def __init__(
        self, width: int, context_width: int | None = None, *, heads: int, qkv_bias: bool = False
    ):
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} cannot be split into {heads} equal heads")
        self.heads = heads
        self.q = nn.Linear(width, width, bias=qkv_bias)
        self.k = nn.Linear(context_width or width, width, bias=qkv_bias)
        self.v = nn.Linear(context_width or width, width, bias=qkv_bias)
        self.out = nn.Linear(width, width)

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, N, width] -> [B, heads, N, width / heads]."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, context: Tensor | None = None, causal: bool = False) -> Tensor:
        context = x if context is None else context
        q, k, v = (
            self.split_heads(project(source))
            for project, source in ((self.q, x), (self.k, context), (self.v, context))
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out(mixed.transpose(1, 2).flatten(2))  #             [B, N, width]


def over_pixels(attend, x: Tensor) -> Tensor:
    """Run a sequence layer over the pixels of a feature map: [B, C, H, W] -> the same shape."""
    sequence = x.flatten(2).transpose(1, 2).contiguous()  #              [B, H*W, C]
    return attend(sequence).transpose(1, 2).reshape(x.shape)
