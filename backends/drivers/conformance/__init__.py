"""Checks that every driver must pass, ours or a third party's, on a stub or on the instrument.

:func:`check_driver` runs those that any driver must pass and those of the capabilities that it has.
Each check answers with a finding, so that one failure does not hide the next.
"""

from backends.drivers.conformance.findings import Finding
from backends.drivers.conformance.kit import check_driver
from backends.drivers.conformance.pair_tester import check_pair_tester
from backends.drivers.conformance.subject import Subject, Trouble

__all__ = ["Finding", "Subject", "Trouble", "check_driver", "check_pair_tester"]
