"""Controls over a model, for the notebooks; the only files that know ipywidgets.

`live` puts sliders, choices and text boxes on any function that draws; `prompt_studio` belongs to
page 00.
"""

from .film import Drawing, draw
from .live import Choice, Live, Slider, Text, live
from .studio import Studio, prompt_studio

__all__ = [
    "Choice",
    "Drawing",
    "Live",
    "Slider",
    "Studio",
    "Text",
    "draw",
    "live",
    "prompt_studio",
]
