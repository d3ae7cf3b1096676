"""Where requests wait: one thread puts them in, another works them off."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from fmviz.engine.messages import AnyRequest, Cancel


class Mailbox:
    """Requests in the order of their arrival, at most one waiting in each lane.

    A newer request of a lane replaces the one that waits there and cancels the one that runs; a `Cancel` does the same to
    its target. `dropped` is called, in the thread that puts, with the number of each request that will never be started.
    """

    def __init__(self, dropped: Callable[[int], None]) -> None:
        self._dropped = dropped
        self._waiting: deque[AnyRequest] = deque()
        self._running: dict[int, str] = {}
        self._cancelled: set[int] = set()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, request: AnyRequest) -> None:
        """Add `request`, or carry it out where it is a `Cancel`."""
        with self._changed:
            if isinstance(request, Cancel):
                gone = self._remove(lambda waiting: waiting.id == request.target)
                self._cancelled |= {request.target} & self._running.keys()
                gone.append(request.id)
            else:
                gone = self._supersede(request.lane) if request.lane else []
                self._waiting.append(request)
                self._changed.notify()
        for number in gone:
            self._dropped(number)

    def close(self) -> None:
        """Nothing more will come: all that runs is cancelled, all that waits forgotten."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._cancelled |= self._running.keys()
            self._changed.notify()

    def take(self, *, wait: bool, seconds: float | None = None) -> AnyRequest | None:
        """The next request, which counts as running until `finished`; None where there is none and `wait` is False, none
        came in so many seconds, or the mailbox was closed."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._waiting or self._closed, seconds)
            if not self._waiting:
                return None
            request = self._waiting.popleft()
            self._running[request.id] = request.lane
            return request

    def finished(self, number: int) -> None:
        """The request `number` has had its final reply."""
        with self._changed:
            self._running.pop(number, None)
            self._cancelled.discard(number)

    def is_cancelled(self, number: int) -> bool:
        """Whether the running request `number` is no longer wanted. Cheap: asked between two layers."""
        return self._closed or number in self._cancelled

    @property
    def closed(self) -> bool:
        return self._closed

    def _supersede(self, lane: str) -> list[int]:
        self._cancelled |= {number for number, other in self._running.items() if other == lane}
        return self._remove(lambda waiting: waiting.lane == lane)

    def _remove(self, unwanted: Callable[[AnyRequest], bool]) -> list[int]:
        gone = [waiting.id for waiting in self._waiting if unwanted(waiting)]
        self._waiting = deque(waiting for waiting in self._waiting if waiting.id not in gone)
        return gone
