"""How sure a comparison of allocators is: paired, clustered, with effect sizes.

Every allocator plays the same draws, so differences are taken cell by cell. Cells of one network
and seed share their luck: the *cluster* is the unit that is resampled and counted, never the cell.
All functions are pure: arrays in, frozen values out; an unknown number is ``nan``, in JSON null.
"""

from controller.statistics.analysis import Anova, anova
from controller.statistics.crossed import Crossed, crossed
from controller.statistics.differences import Paired, paired
from controller.statistics.learning import Convergence, Sooner, convergence, sooner
from controller.statistics.mixed import Coefficient, Mixed, mixed_model
from controller.statistics.planned import NotWorse, holm, not_worse
from controller.statistics.samples import Better, iqm
from controller.statistics.sizes import Regression, regression

__all__ = [
    "Anova",
    "Better",
    "Coefficient",
    "Convergence",
    "Crossed",
    "Mixed",
    "NotWorse",
    "Paired",
    "Regression",
    "Sooner",
]
__all__ += ["anova", "convergence", "crossed", "holm", "iqm", "mixed_model", "not_worse", "paired"]
__all__ += ["regression", "sooner"]
