"""How a desk keeps its journal: what is needed of it, and what is done when it is full."""

from collections.abc import Iterable

from controller.service.answers import Answers, Party
from controller.service.entries import Answered, Changed, Entry, Expiry, Kept, Known
from controller.service.journal import Journal, JournalFull
from controller.service.sessions import Sessions
from controller.service.standing import Standing
from controller.service.terms import Terms
from controller.service.turn import Reply, Turn
from controller.service.work import Work
from quantum.alterations import Alter
from quantum.errors import Code
from quantum.requests import Ask, Denied, Expired, decode_answer, decode_ask, encode_request

__all__ = ["TRY_S", "Keeping", "recall"]

#: A journal that could not be written is tried again so often.
TRY_S = 1.0
#: Times of rows are noted so finely.
_GRAIN_S = 1.0


class Keeping:
    """Writes a journal; ``terms.on_full`` says what is to be when that fails."""

    def __init__(self, journal: Journal, terms: Terms) -> None:
        self._journal, self._terms = journal, terms
        self._needed: list[tuple[float, int]] = []
        self._tried_s = 0.0
        self.broken = ""
        """Why nothing is handed out: the journal cannot be written."""
        self.trouble = ""
        """Why the last entries are not in the journal."""
        self.missing = 0
        """Entries that are not in the journal."""

    def write(self, entries: list[Entry], now_s: float) -> bool:
        """Write entries; tell whether they are in the journal."""
        try:
            number = self._journal.append(entries)
        except JournalFull as wrong:
            self._tried_s, self.trouble = now_s, str(wrong)
            self.missing += len(entries)
            if self._terms.on_full == "stop":
                self.broken = self.trouble
            return False
        self.trouble = ""
        if not self._needed or now_s - self._needed[-1][0] >= _GRAIN_S:
            self._needed.append((now_s, number))
        return True

    def commit(self, turn: Turn, work: Work | None, now_s: float) -> list[Reply]:
        """Write what a turn decided, and only then let it leave: returns what is to be said."""
        if work is not None and not self.broken:
            work.fill(turn, now_s)
        if not turn.entries or self.write(turn.entries, now_s):
            if work is not None:
                work.kept()
            return turn.out + turn.held
        if work is not None:
            work.failed(goes_on=self._terms.on_full == "continue")
        _not_kept(turn)
        if self._terms.on_full == "continue":
            return turn.out + turn.held
        _put_off(turn, f"nothing is handed out: {self.broken}")
        return turn.out

    def try_again(self, now_s: float) -> None:
        """Try a journal that could not be written, now and then."""
        if self.broken and now_s - self._tried_s >= TRY_S and self.write([], now_s):
            self.broken = ""

    def trim(self) -> None:
        """Let a journal that is too long get a little shorter."""
        self._journal.trim()

    def tidy(
        self,
        now_s: float,
        parties: Iterable[Party],
        sequence: int,
        job: int,
        standing: Standing,
    ) -> None:
        """Note the last row, and let rows go that no retry can ask for any more."""
        self._journal.mark()
        oldest_s = now_s - self._terms.most_s - self._terms.grace_s - 2.0 * _GRAIN_S
        while len(self._needed) > 1 and self._needed[1][0] <= oldest_s:
            self._needed.pop(0)
        if self._needed and self._needed[0][0] <= oldest_s:
            known = tuple(Known(p.number, p.public, p.name) for p in parties if p.noted)
            changed = standing.changes, standing.now
            self._journal.tidy(self._needed[0][1], known, sequence, job, changed)


def _not_kept(turn: Turn) -> None:
    """Let clients whose number should have been noted in a turn be noted by the next one.

    Who was noted in an earlier turn still is: his number stands in the journal.
    """
    fresh = {entry.client for entry in turn.entries if isinstance(entry, Known)}
    for waiting in turn.done:
        if waiting.party.number in fresh:
            waiting.party.noted = False


def _put_off(turn: Turn, why: str) -> None:
    """Let those come back later whose answer could not be kept; their pairs are lost."""
    for waiting in turn.done:
        rid = waiting.ask.rid
        del waiting.party.known[rid]
        frame = encode_request(Denied(rid, Code.BUSY, why, retry_s=TRY_S))
        turn.out += [(peer, frame) for peer in waiting.peers]


def recall(entries: Iterable[Entry], sessions: Sessions, answers: Answers, now_s: float) -> None:
    """Take over who had which number, and what is still to be said when it is asked again."""
    by_number: dict[int, Party] = {}

    def know(known: Known) -> None:
        party = sessions.recall(known.client, known.public, known.name, now_s)
        by_number[known.client] = party

    for entry in entries:
        match entry:
            case Kept(clients=clients):
                for known in clients:
                    know(known)
            case Known():
                know(entry)
            case Answered(number, ask, answer, keep_s):
                asked = decode_ask(ask)
                assert isinstance(asked, Ask)
                # Whole again: nobody knows how long the service was away.
                answers.keep(by_number[number], asked.rid, answer, now_s + keep_s)
            case Changed(number, ask, answer, keep_s):
                wanted = decode_ask(ask)
                assert isinstance(wanted, Alter)
                answers.keep(by_number[number], wanted.rid, answer, now_s + keep_s)
            case Expiry(number, said):
                party = by_number[number]
                expired = decode_answer(said)
                assert isinstance(expired, Expired)
                if expired.rid in party.known:
                    party.expired.setdefault(expired.rid, []).append(said)
