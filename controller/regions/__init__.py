"""A network in regions: each has a broker of its own, which owns its links; none needs a lock.

What lies inside a region is asked of its own service (:mod:`controller.service`). A pair between
regions is put together of legs, one for each region on its way; the region where it begins asks
the others for theirs (:mod:`controller.regions.crossing`), and they hold them for a while
(:mod:`controller.regions.holding`).
"""
