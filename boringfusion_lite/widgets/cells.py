"""Answer the moves of controls on the thread that runs the cells.

JupyterLab gives the messages of widgets a thread of their own, so that they are heard while a cell
runs. PyTorch would then do the work of a slider with a second set of workers, which take turns
with the first: on two cores a picture took 1.1 s there and 0.55 s where the cells run. And what a
cell has switched for its thread, gradients for one, would not hold.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import wraps


def on_cells_thread(answer: Callable) -> Callable:
    """The same function, run by the thread that asks now, whichever calls it.

    The caller waits. Where no event loop runs now, as in a script, nothing is changed.
    """
    try:
        loop, cells = asyncio.get_running_loop(), threading.current_thread()
    except RuntimeError:
        return answer

    async def soon(*args):
        return answer(*args)

    @wraps(answer)
    def handed_over(*args):
        if threading.current_thread() is cells:
            return answer(*args)
        return asyncio.run_coroutine_threadsafe(soon(*args), loop).result()

    return handed_over
