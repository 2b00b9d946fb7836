"""Checkers for the exercises of every page: `checks.check_add_noise(my_add_noise)`.

One module a page. The tests run each of them on the right answer and on typical wrong ones.
"""

from .first_image import check_grid, check_picture, check_settled
from .tokenization import check_ids, check_split, check_survives
from .verdict import Verdict

__all__ = [
    "Verdict",
    "check_grid",
    "check_ids",
    "check_picture",
    "check_settled",
    "check_split",
    "check_survives",
]
