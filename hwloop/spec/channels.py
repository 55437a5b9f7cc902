"""Channel groups: the channels of a network that are kept or removed together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hwloop.errors import SpecError
from hwloop.spec.document import Fields

Input = tuple[str, int, int]  # (layer, first of its input channels, how many consecutive ones each channel becomes)


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are kept or removed together: of layers whose results are added, of a depthwise convolution, ...

    Attributes:
        name: of the first layer that makes them.
        size: how many there are.
        outputs: layers whose output channels they are, all of them; a depthwise layer is in `outputs` and `inputs`.
        inputs: (layer, first, repeat): they are the layer's input channels from number `first` on, each channel `repeat`
            consecutive ones (pixels of a flattened image; 1 otherwise). Concatenation makes `first` above 0.
        multiple: the channels stand in this many equal blocks that keep the same number each (grouped convolutions), so
            that the number kept is a multiple of it; 1 otherwise.
        fixed: why none of them may be removed, empty when they may.
    """

    name: str
    size: int
    outputs: tuple[str, ...] = ()
    inputs: tuple[Input, ...] = ()
    multiple: int = 1
    fixed: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `read_channel_group` reads."""
        out: dict[str, Any] = {"name": self.name, "size": self.size, "outputs": list(self.outputs)}
        if self.inputs:
            out["inputs"] = [list(entry) for entry in self.inputs]
        if self.multiple != 1:
            out["multiple"] = self.multiple
        if self.fixed:
            out["fixed"] = self.fixed
        return out

    def check(self, channels: int | tuple[int, ...], field: str, source: str = "<plan>") -> int:
        """How many channels `channels` keeps.

        Args:
            channels: how many, or the numbers of those kept, rising.
            field: what to call it in the error.
            source: the file it stands in.

        Raises:
            SpecError: more than there are, none, or a choice that the group's blocks or its `fixed` forbid.
        """
        count = channels if isinstance(channels, int) else len(channels)
        highest = channels if isinstance(channels, int) else channels[-1] + 1
        if not count >= 1 or highest > self.size:
            raise SpecError(source, field, f"1 to {self.size} channels, numbered from 0", channels)
        if self.fixed and count < self.size:
            raise SpecError(source, field, f"all {self.size} channels", channels, self.fixed)
        if count % self.multiple:
            hint = "grouped convolutions need as many channels in each of their groups"
            raise SpecError(source, field, f"a multiple of {self.multiple}", count, hint)
        if not isinstance(channels, int):
            block = self.size // self.multiple
            kept = {sum(1 for c in channels if c // block == i) for i in range(self.multiple)}
            if len(kept) > 1:
                raise SpecError(source, field, f"as many in each of {self.multiple} blocks of {block} channels", channels)
        return count


def read_channel_group(fields: Fields) -> ChannelGroup:
    """Reads what `to_dict` writes.

    Raises:
        SpecError: with the file and the field, when something is missing, misspelt or of another type.
    """
    name, size = fields.take("name", str), fields.take("size", int)
    outputs: list[Any] = fields.take("outputs", list, [])
    inputs: list[Any] = fields.take("inputs", list, [])
    for i, entry in enumerate(inputs):
        if not isinstance(entry, (list, tuple)) or len(entry) != 3 or [type(part) for part in entry] != [str, int, int]:
            raise fields.error(f"inputs[{i}]", "[layer, first channel, repeat]", entry)
    multiple, fixed = fields.take("multiple", int, 1), fields.take("fixed", str, "")
    fields.finish()
    return ChannelGroup(
        name, size, tuple(str(layer) for layer in outputs), tuple((e[0], e[1], e[2]) for e in inputs), multiple, fixed
    )


def check_channel_groups(
    groups: Iterable[ChannelGroup], made: Mapping[str, int], taken: Mapping[str, int], workload: str
) -> None:
    """Checks groups against the layers they name.

    Args:
        groups: of one workload.
        made: number of output channels of each layer.
        taken: number of input channels of each layer.
        workload: its name, for errors.

    Raises:
        SpecError: an unknown layer, a layer whose outputs are in two groups, channels a layer does not have.
    """
    names: set[str] = set()
    owners: dict[str, str] = {}
    for i, group in enumerate(groups):
        where = f"channels[{i}]"
        if group.name in names:
            raise SpecError(workload, f"{where}.name", "a name no other group has", group.name)
        names.add(group.name)
        if group.size < 1 or group.multiple < 1 or group.size % group.multiple:
            raise SpecError(workload, f"{where}.size", f"a multiple of {group.multiple}, at least 1", group.size)
        for layer in group.outputs:
            if layer not in made:
                raise SpecError(workload, f"{where}.outputs", "names of layers", layer)
            if owners.setdefault(layer, group.name) != group.name:
                raise SpecError(workload, f"{where}.outputs", f"layers of no other group ({owners[layer]!r} has it)", layer)
            if made[layer] != group.size:
                raise SpecError(workload, f"{where}.size", f"the {made[layer]} output channels of {layer!r}", group.size)
        for layer, first, repeat in group.inputs:
            if layer not in taken:
                raise SpecError(workload, f"{where}.inputs", "names of layers", layer)
            if first < 0 or repeat < 1 or first + group.size * repeat > taken[layer]:
                found = f"{group.size} channels, {repeat} each, from {first}"
                raise SpecError(workload, f"{where}.inputs", f"within the {taken[layer]} input channels of {layer!r}", found)
