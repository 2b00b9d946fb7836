"""Controls over a model, for the notebooks; the only files that know ipywidgets.

`live` puts sliders, choices and text boxes on any function that draws; `training` shows a network
while it learns; `prompt_studio` belongs to page 00.
"""

from .film import Drawing, draw
from .live import Choice, Live, Slider, Text, live
from .studio import Studio, prompt_studio
from .training import Training, training

__all__ = [
    "Choice",
    "Drawing",
    "Live",
    "Slider",
    "Studio",
    "Text",
    "Training",
    "draw",
    "live",
    "prompt_studio",
    "training",
]
