"""Every figure of the notebooks: tensors and pictures in, a matplotlib Figure out.

One module a theme, all on the canvas of `canvas.py`; the only files that know matplotlib.
"""

from .canvas import encoded, numbers, show, signed_rgb, strip, use_style
from .journey import STAGES, pipeline_map, ribbon
from .pictures import latent_tiles, picture_rows, time_bars
from .prompts import embedding_map, token_chips

__all__ = [
    "STAGES",
    "embedding_map",
    "encoded",
    "latent_tiles",
    "numbers",
    "picture_rows",
    "pipeline_map",
    "ribbon",
    "show",
    "signed_rgb",
    "strip",
    "time_bars",
    "token_chips",
    "use_style",
]
