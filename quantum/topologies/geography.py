"""Places on the Earth: distances, the flat picture of them, and nodes whose place is unknown."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["DETOUR", "EARTH_KM", "fill_gaps", "flat_km", "great_circle_km"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Mean radius of the Earth (IUGG).
EARTH_KM = 6371.0088
#: Fibre follows roads and railways: its length over that of the great circle.
DETOUR = 1.25


def _unit(degrees: Floats) -> Floats:
    """Turn (latitude, longitude) in degrees ``(..., 2)`` into unit vectors ``(..., 3)``."""
    latitude, longitude = np.deg2rad(degrees[..., 0]), np.deg2rad(degrees[..., 1])
    return np.stack(
        [
            np.cos(latitude) * np.cos(longitude),
            np.cos(latitude) * np.sin(longitude),
            np.sin(latitude),
        ],
        axis=-1,
    )


def great_circle_km(a: Floats, b: Floats) -> Floats:
    """Return the distance of places given as (latitude, longitude) in degrees, ``(..., 2)``.

    Haversine formula, exact on the sphere also for near places.

    >>> a = np.array([52.52, 13.405]); b = np.array([48.8566, 2.3522])
    >>> round(float(great_circle_km(a, b)))  # Berlin - Paris, 878 km in atlases
    877
    """
    (lat_a, lon_a), (lat_b, lon_b) = (
        np.deg2rad(np.moveaxis(a, -1, 0)),
        np.deg2rad(np.moveaxis(b, -1, 0)),
    )
    half = np.sin((lat_b - lat_a) / 2) ** 2
    half = half + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    distance: Floats = 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0)))
    return distance


def flat_km(degrees: Floats) -> Floats:
    """Project places ``(n, 2)`` on a plane in km, azimuthal equidistant about their centre.

    East is x, north is y. True to scale from the centre; a country is true to a per mille, a
    network around the world is not.
    """
    if not len(degrees):
        return np.zeros((0, 2))
    points = _unit(degrees)
    centre = points.mean(axis=0)
    norm = float(np.linalg.norm(centre))
    # Places that balance out around the globe have no centre; any place will do then.
    centre = centre / norm if norm > 1e-9 else points[0]
    east = np.cross([0.0, 0.0, 1.0], centre)
    length = float(np.linalg.norm(east))
    east = east / length if length > 1e-9 else np.array([0.0, 1.0, 0.0])
    north = np.cross(centre, east)
    x, y = points @ east, points @ north
    reach = np.hypot(x, y)
    angle = np.arctan2(reach, points @ centre)
    scale = EARTH_KM * np.where(reach > 1e-12, angle / np.maximum(reach, 1e-12), 1.0)
    return np.stack([x * scale, y * scale], axis=1)


def fill_gaps(degrees: Floats, links: Ints) -> Floats:
    """Put each node without a place (NaN) at the mean of its neighbours that have one.

    Goes on in rounds, outwards from the known places. ``degrees`` is (n, 2). Nodes that no known
    place reaches stay NaN.
    """
    points = _unit(degrees)
    known: NDArray[np.bool_] = np.all(np.isfinite(degrees), axis=1)
    ends = np.concatenate([links, links[:, ::-1]])
    while True:
        useful = ends[~known[ends[:, 0]] & known[ends[:, 1]]]
        useful = useful[np.argsort(useful[:, 0], kind="stable")]
        if not len(useful):
            break
        total = np.zeros_like(points)
        np.add.at(total, useful[:, 0], points[useful[:, 1]])
        new = np.unique(useful[:, 0])
        norm = np.linalg.norm(total[new], axis=1, keepdims=True)
        # Neighbours on opposite sides of the globe cancel; then the first of them is taken.
        first = useful[np.searchsorted(useful[:, 0], new), 1]
        points[new] = np.where(norm > 1e-9, total[new] / np.maximum(norm, 1e-9), points[first])
        known[new] = True
    filled = np.stack(
        [
            np.rad2deg(np.arcsin(np.clip(points[:, 2], -1.0, 1.0))),
            np.rad2deg(np.arctan2(points[:, 1], points[:, 0])),
        ],
        axis=1,
    )
    return np.where(np.isfinite(degrees), degrees, filled)
