"""Pictures of a run: values in, PNG or SVG bytes out, the same bytes for the same values.

Every title says what was found, not what is plotted. Colours are those of Okabe and Ito and of
cividis, which people with any kind of colour vision tell apart.
"""

from controller.picture.network import network_figure
from controller.picture.run import run_figure

__all__ = ["network_figure", "run_figure"]
