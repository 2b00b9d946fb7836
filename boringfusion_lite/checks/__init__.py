"""Checkers for the exercises of every page: `checks.check_add_noise(my_add_noise)`.

One module a page. The tests run each of them on the right answer and on typical wrong ones.
"""

from .verdict import Verdict

__all__ = ["Verdict"]
