"""What work between layers costs: residual adds, pooling, normalisation read and write feature maps where they wait.

A value's activation function and its rounding happen on the way out of its layer and make no traffic. A residual add reads the
other operand while its layer's result leaves; pooling, softmax and layer normalisation read a map and write another. The
arithmetic itself is not priced, and nothing else runs meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection

from hwloop.backend.network_maps import NetworkMaps
from hwloop.backend.target import Target
from hwloop.simulator import Stream, StreamCost, Streams


class OperationCosts:
    """Costs of operations on a target; equal traffic is priced once.

    Args:
        target: the accelerator and its energies.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._streams: Streams | None = None
        self._known: dict[tuple[Stream, ...], StreamCost] = {}

    def of(self, maps: NetworkMaps, resident: Collection[str] = (), level: str = "") -> list[tuple[str, StreamCost]]:
        """(name, cost) of each operation.

        Args:
            maps: of the network.
            resident: names of the maps that stay at `level`; the others wait at the outermost one.
            level: where those stay.
        """
        return [(name, self._cost(streams)) for name, streams in self.streams(maps, resident, level)]

    def streams(self, maps: NetworkMaps, resident: Collection[str] = (), level: str = "") -> list[tuple[str, tuple[Stream, ...]]]:
        """(name, what it reads and writes) of each operation; arguments as of `of`."""
        out = []
        for operation in maps.operations:
            streams = [self._stream(maps, name, values, False, resident, level) for name, values in operation.reads]
            streams += [self._stream(maps, name, maps.maps[name].values, True, resident, level) for name in operation.writes]
            out.append((operation.name, tuple(streams)))
        return out

    def _stream(self, maps: NetworkMaps, name: str, values: int, written: bool, resident: Collection[str], level: str) -> Stream:
        each = maps.maps[name]
        place = level if name in resident else self._target.arch.storage[0].name
        coded = self._target.codes(place, "Outputs" if written else "Inputs")
        return Stream(place, values, each.bits, each.density if coded else 1.0, written)

    def _cost(self, streams: tuple[Stream, ...]) -> StreamCost:
        if streams not in self._known:
            if self._streams is None:
                self._streams = Streams(self._target.arch, self._target.table())
            self._known[streams] = self._streams.cost(streams)
        return self._known[streams]
