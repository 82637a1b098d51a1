"""How many at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Gate:
    """Lets so many in at once; fewer after the server pushed back, more again as answers come in.

    Who waits, waits in a line with those who want the same part of the API, and each line has its turn: so a list whose
    pages name the next one does not wait for all the pages of another one, each time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.limit = float(most)
        self.busy = 0
        self._lines: dict[str, deque[asyncio.Future[None]]] = {}

    async def enter(self, line: str) -> None:
        """Wait in a line until there is room for one more."""
        if self.busy < int(self.limit):
            self.busy += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._lines.setdefault(line, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._lines[line].remove(turn)
            else:  # it was let in already
                self.leave()
            raise

    def leave(self) -> None:
        """Make room for the next one."""
        self.busy -= 1
        self._admit()

    def _admit(self) -> None:
        """Let in whom there is room for: the place is theirs, whoever comes meanwhile."""
        while self.busy < int(self.limit) and (turn := self._next()):
            self.busy += 1
            turn.set_result(None)

    def _next(self) -> asyncio.Future[None] | None:
        for name, line in self._lines.items():
            if turn := next((turn for turn in line if not turn.done()), None):
                line.remove(turn)
                self._lines[name] = self._lines.pop(name)  # the last to have a turn again
                return turn
        return None

    def eased(self) -> None:
        """A good answer: a whole round of them admits one more."""
        self.limit = min(float(self._most), self.limit + 1 / self.limit)
        self._admit()

    def pushed_back(self, admitted_under: float) -> None:
        """The server had too much: half as many, once for all that were admitted under the same limit."""
        if admitted_under <= self.limit:
            self.limit = max(1.0, self.limit / 2)
