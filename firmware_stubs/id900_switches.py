"""What is not known about the ID900 and its DataLink service, and must be tried on one."""

from typing import Literal

import msgspec

__all__ = ["DataLinkSwitches", "Switches"]


class DataLinkSwitches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Open questions about the service on port 6060."""

    end_marker: str = "END"
    """The message that ends a stream: that there is one is known, its bytes are not."""
    acquisition_id: str = "{address}:{port}"
    """The port is 5554 + channel, as far as one public log shows."""


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not known about the instrument and must be tried on one."""

    idn: str = "IDQ,ID900,STUB-{seed},1.0"
    set_reply: str = ""
    error_text: str = 'ERROR {number},"{text}"'
    integration_unit: Literal["ms", "ns"] = "ms"
    tb_suffix: bool = True
    separator: Literal[";", "\n"] = ";"
    """Between the answers of a chain: public scripts split at either."""
    counter_phase: Literal["shared", "own"] = "shared"
    """``shared``: windows of equal length coincide; ``own``: each starts when it was set up."""
    datalink: DataLinkSwitches = DataLinkSwitches()
