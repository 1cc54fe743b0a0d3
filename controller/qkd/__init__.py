"""Quantum key distribution, an application of measured pairs: from outcomes to keys in a store.

Read in this order: ``pairs`` (pairs are made and measured by workers), ``sifting``, ``cascade``,
``finite_key``, ``hashing``, ``distillation`` (all steps of one key), ``relay`` (trusted nodes), and
``store``, ``etsi``, ``server`` (ETSI GS QKD 014).
"""
