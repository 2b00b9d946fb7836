"""Every figure of the notebooks: tensors and pictures in, a matplotlib Figure out.

One module a theme, all on the canvas of `canvas.py`; the only files that know matplotlib.
"""

from .canvas import encoded, film, numbers, show, signed_rgb, strip, use_style
from .embeddings import (
    causal_mask,
    effect_curves,
    fader_sheet,
    method_sheet,
    share_bar,
    similarity_matrix,
    slot_norms,
)
from .journey import STAGES, pipeline_map, ribbon
from .maps import heat, heat_bar, map_grid, word_maps
from .noise import crossover, dissolving, histograms, lines, log_snr, noise_dial, spacings
from .pictures import latent_tiles, picture_rows, time_bars
from .prompts import embedding_map, token_chips
from .real_thing import bones, key_map, name_map, number_bits, short, step_card
from .sampling import (
    distances_by_calls,
    guess_arrows,
    guidance_fan,
    latent_paths,
    picture_grid,
    plane_paths,
)
from .together import change_matrix, every_tensor, paused, score, side_by_side
from .tokenization import egg_box, egg_boxes, merge_staircase, piece_bars, piece_rows
from .unet import ablation, depth_guesses, error_chart, time_fingerprints, u_diagram
from .vae import cloud, decoder_walk, fewer, footprint_map, footprints

__all__ = [
    "STAGES",
    "ablation",
    "bones",
    "causal_mask",
    "change_matrix",
    "cloud",
    "crossover",
    "decoder_walk",
    "depth_guesses",
    "dissolving",
    "distances_by_calls",
    "effect_curves",
    "egg_box",
    "egg_boxes",
    "embedding_map",
    "encoded",
    "error_chart",
    "film",
    "every_tensor",
    "fader_sheet",
    "fewer",
    "footprint_map",
    "footprints",
    "guess_arrows",
    "guidance_fan",
    "heat",
    "heat_bar",
    "histograms",
    "key_map",
    "latent_paths",
    "latent_tiles",
    "lines",
    "log_snr",
    "map_grid",
    "merge_staircase",
    "method_sheet",
    "name_map",
    "noise_dial",
    "number_bits",
    "numbers",
    "paused",
    "picture_grid",
    "picture_rows",
    "piece_bars",
    "piece_rows",
    "pipeline_map",
    "plane_paths",
    "ribbon",
    "score",
    "share_bar",
    "short",
    "show",
    "side_by_side",
    "signed_rgb",
    "similarity_matrix",
    "slot_norms",
    "spacings",
    "step_card",
    "strip",
    "time_bars",
    "time_fingerprints",
    "token_chips",
    "u_diagram",
    "use_style",
    "word_maps",
]
