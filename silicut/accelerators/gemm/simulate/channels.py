"""Counters of tokens in time: when each token is sent and when it is taken."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from silicut.accelerators.gemm.program.queues import Channel


class Channels:
    """All channels of a run. Each has one sender and one taker, so tokens leave in the order in which they came.

    Attributes:
        sent: times by channel, increasing.
        taken: times by channel, increasing.
    """

    def __init__(self) -> None:
        self.sent: defaultdict[Channel, list[int]] = defaultdict(list)
        self.taken: defaultdict[Channel, list[int]] = defaultdict(list)

    def send(self, channels: Iterable[Channel], time: int) -> None:
        """Put one token into each of some channels."""
        for channel in channels:
            self.sent[channel].append(time)

    def ready(self, needs: Mapping[Channel, int]) -> tuple[int, Channel | None] | None:
        """Return when the last token that is needed is there and its channel, or None if that is not known yet."""
        time, last = 0, None
        for channel, count in needs.items():
            index = len(self.taken[channel]) + count - 1
            if index >= len(self.sent[channel]):
                return None
            if self.sent[channel][index] >= time:
                time, last = self.sent[channel][index], channel
        return time, last

    def take(self, needs: Mapping[Channel, int], time: int) -> None:
        """Take tokens that are ready."""
        for channel, count in needs.items():
            self.taken[channel].extend([time] * count)

    def overflows(self, depth: int) -> Iterable[tuple[Channel, int]]:
        """Yield the channels that held more than `depth` tokens at some time, with that time."""
        for channel, sent in self.sent.items():
            taken = self.taken[channel]
            for i in range(depth, len(sent)):
                if i - depth >= len(taken) or taken[i - depth] > sent[i]:
                    yield channel, sent[i]
                    break
