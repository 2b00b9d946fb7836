"""Checkers for the exercises of every page: `checks.check_add_noise(my_add_noise)`.

One module a page. The tests run each of them on the right answer and on typical wrong ones.
"""

from .embeddings import check_blend, check_scale_token, check_shares
from .first_image import check_grid, check_picture, check_settled
from .measuring import check_bootstrap, check_comparison, check_frechet
from .noise import check_add_noise, check_even_timestep, check_rescale
from .real_thing import check_attention, check_diagnosis, check_parameters
from .sampling import check_cfg, check_ddim, check_duel
from .together import check_image_to_image, check_loop, check_retake
from .tokenization import check_ids, check_split, check_survives
from .train_clip import check_both_ways, check_scaled, check_targets
from .train_unet import check_leave_out, check_snapshot, check_training_loss
from .train_vae import check_draw, check_kl, check_scale
from .unet import check_clean_guess, check_cut_skip, check_error_by_t
from .vae import check_pixels, check_preview, check_width
from .verdict import Verdict

__all__ = [
    "Verdict",
    "check_add_noise",
    "check_attention",
    "check_blend",
    "check_both_ways",
    "check_bootstrap",
    "check_cfg",
    "check_clean_guess",
    "check_comparison",
    "check_cut_skip",
    "check_ddim",
    "check_diagnosis",
    "check_draw",
    "check_duel",
    "check_error_by_t",
    "check_even_timestep",
    "check_frechet",
    "check_grid",
    "check_ids",
    "check_image_to_image",
    "check_kl",
    "check_leave_out",
    "check_loop",
    "check_parameters",
    "check_picture",
    "check_pixels",
    "check_preview",
    "check_rescale",
    "check_retake",
    "check_scale",
    "check_scale_token",
    "check_scaled",
    "check_settled",
    "check_shares",
    "check_snapshot",
    "check_split",
    "check_survives",
    "check_targets",
    "check_training_loss",
    "check_width",
]
