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
)
from .journey import STAGES, pipeline_map, ribbon
from .maps import heat, heat_bar, map_grid, word_maps
from .measuring import dots, panels, trust
from .noise import crossover, dissolving, histograms, lines, log_snr, noise_dial, spacings
from .pictures import latent_tiles, picture_rows, time_bars
from .prompts import embedding_map, token_chips
from .real_thing import bones, key_map, number_bits, peaks, short, step_card
from .sampling import (
    distances_by_calls,
    guess_arrows,
    guidance_fan,
    latent_paths,
    picture_grid,
    plane_paths,
)
from .scoreboard import closeness, scoreboard, territories
from .together import change_matrix, every_tensor, paused, score, side_by_side
from .tokenization import egg_box, egg_boxes, merge_staircase, piece_bars, piece_rows
from .train_unet import brightness, by_timestep, kept_pictures
from .train_vae import decoders, expected_losses, forgiveness, from_sheet, tug_of_war
from .training import arms, growth, loss_curve, softmax_rows
from .unet import ablation, depth_guesses, error_chart, time_fingerprints, u_diagram
from .vae import cloud, decoder_walk, fewer, footprint_map, footprints

__all__ = [
    "STAGES",
    "ablation",
    "arms",
    "bones",
    "brightness",
    "by_timestep",
    "causal_mask",
    "change_matrix",
    "closeness",
    "cloud",
    "crossover",
    "decoder_walk",
    "decoders",
    "depth_guesses",
    "dissolving",
    "distances_by_calls",
    "dots",
    "effect_curves",
    "egg_box",
    "egg_boxes",
    "embedding_map",
    "encoded",
    "error_chart",
    "film",
    "every_tensor",
    "expected_losses",
    "fader_sheet",
    "fewer",
    "footprint_map",
    "footprints",
    "growth",
    "forgiveness",
    "from_sheet",
    "guess_arrows",
    "guidance_fan",
    "heat",
    "heat_bar",
    "histograms",
    "kept_pictures",
    "key_map",
    "latent_paths",
    "latent_tiles",
    "lines",
    "log_snr",
    "loss_curve",
    "map_grid",
    "merge_staircase",
    "method_sheet",
    "noise_dial",
    "number_bits",
    "numbers",
    "panels",
    "paused",
    "picture_grid",
    "picture_rows",
    "peaks",
    "piece_bars",
    "piece_rows",
    "pipeline_map",
    "plane_paths",
    "ribbon",
    "score",
    "scoreboard",
    "share_bar",
    "short",
    "show",
    "side_by_side",
    "signed_rgb",
    "similarity_matrix",
    "softmax_rows",
    "spacings",
    "step_card",
    "strip",
    "territories",
    "time_bars",
    "time_fingerprints",
    "token_chips",
    "tug_of_war",
    "trust",
    "u_diagram",
    "use_style",
    "word_maps",
]
