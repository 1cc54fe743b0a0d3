"""The run folder: what a run did, in files that show when somebody changed them.

Events go to ``events.jsonl``, one JSON object a line, each line holding a hash over the line before
it. ``manifest.json`` seals the folder: the digest of every file and of itself. A single changed
byte anywhere, a missing, an extra or a cut file is found and named. The format is specified, with
parser code, in ``docs/record.md``. This room has no clock: time stamps are passed in.
"""

from quantum.record.canonical import FORMAT
from quantum.record.digest import Digest
from quantum.record.reader import Record, Verified, read, verify
from quantum.record.writer import RecordWriter

__all__ = ["FORMAT", "Digest", "Record", "RecordWriter", "Verified", "read", "verify"]
