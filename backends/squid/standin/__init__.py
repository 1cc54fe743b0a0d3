"""Stands in for SquidASM: the names that its programs import, on the executor of this package.

:mod:`.install` puts them in place, on request only; :mod:`.names` says what is there. All that is
remembered between calls is in :mod:`.state`.
"""
