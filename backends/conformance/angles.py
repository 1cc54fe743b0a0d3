"""The rule for backends that measure each qubit of a pair in a basis of its own."""

import numpy as np
from numpy.typing import NDArray

from backends.conformance.answers import Broken, Refused, single
from backends.contract import Analyser, Backend
from quantum import bell
from quantum.batch import Batch, Skeleton
from quantum.errors import Code, RequestError
from quantum.program import Gates, Memory
from quantum.seeding import generator

__all__ = ["results_at_angles"]

Floats = NDArray[np.float64]

_DRAWS = 400
#: Left and right angles: equal ones, Ekert's, and some that tell sines from cosines and signs.
_ANGLES_RAD = ((0.0, 0.0), (np.pi / 2, np.pi / 4), (0.3, 2.0), (-1.1, 0.4))


def results_at_angles(backend: Backend) -> str:
    """Draws decide both results by their exact chances; a left result is the left qubit's."""
    if not isinstance(backend, Analyser):
        raise Refused("it has no analyse(): parities only")
    draw = (np.arange(_DRAWS) + 0.5) / _DRAWS
    told = 0
    for left, right in _ANGLES_RAD:
        # A pair of which the left qubit has waited so long that it is in |0>.
        for batch, chances in (
            (_werner(0.85), _chances(0.8, 0.0, left, right)),
            (_relaxed(), _chances(0.0, 1.0, left, right)),
        ):
            angles = np.full((_DRAWS, 2), (left, right))
            try:
                found = backend.analyse(batch, angles, draw, generator(1, "conformance"))
            except RequestError as refused:
                if refused.code == Code.UNSUPP:
                    raise Refused(str(refused)) from refused
                raise
            if found.source != "sim":
                return f"source is {found.source}: not checked"
            both = np.asarray(found.both)
            wanted = np.searchsorted(np.cumsum(chances)[:3], draw, side="right")
            if both.shape != (_DRAWS,) or not np.array_equal(both, wanted):
                raise Broken(
                    f"angles {left:.3g} and {right:.3g}: results 00, 01, 10, 11 must have chances "
                    f"{np.round(chances, 4).tolist()}, and the draw decides"
                )
            told += _DRAWS
    return f"{told} draws"


def _werner(fidelity: float) -> Batch:
    return single(np.repeat(bell.werner([fidelity]), _DRAWS, axis=0))


def _relaxed() -> Batch:
    waits = np.tile([1e4, 0.0], (_DRAWS, 1, 1))
    steps: Skeleton = (("generate", 0, -1), ("wait", 0, -1))
    weights = np.repeat(bell.werner([1.0]), _DRAWS, axis=0)[:, None, :]
    return Batch(steps, weights, waits, Memory(t1_s=1.0, t2_s=1.0), Gates())


def _chances(correlator: float, left_z: float, left: float, right: float) -> Floats:
    """Return the chances (4,) of a state with <XX> = <ZZ> = ``correlator`` and <Z I> given."""
    signs = np.array([1.0, -1.0])
    both = correlator * np.cos(left - right) * np.outer(signs, signs)
    alone = left_z * np.cos(left) * signs[:, None]
    chances: Floats = (1.0 + alone + both) / 4.0
    return chances.ravel()
