"""The MDMA controller of the STM32H7 (RM0433 revision 7, chapter 14), which feeds QUADSPI.

What belongs here: channels, triggers and flags. Transfers take no board time: a channel moves all that it may as soon
as it may. Of the hardware triggers those of QUADSPI are connected. Not modelled: bursts and priorities, which only
shape time, and big-endian exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gdbflash.board.bus import BusError
from gdbflash.board.memory import AddressSpace, Registers

_FIRST, _CHANNELS, _STRIDE = 0x40, 16, 0x40
_ISR, _IFCR, _ESR, _CR, _TCR, _BNDTR, _SAR, _DAR, _BRUR, _LAR, _TBR = range(0, 0x2C, 4)
_MAR, _MDR = 0x30, 0x34
_LINKED = (_TCR, _BNDTR, _SAR, _DAR, _BRUR, _LAR, _TBR, 0x2C, _MAR, _MDR)
"""What the words at the link address are loaded into (14.3.9)."""

_TEIF, _CTCIF, _BRTIF, _BTIF, _TCIF = (1 << bit for bit in range(5))
_EN, _ENABLES, _SWRQ = 1 << 0, 1, 1 << 16
_PKE, _SWRM = 1 << 25, 1 << 30
_BUFFER, _BLOCK, _BLOCKS, _LIST = range(4)
"""How much one request moves, as in TRGM."""
_COUNT = 0x1FFFF
_LONGEST = 256
"""Nodes of a list that are served at one access: a ring has no end of its own."""


@dataclass
class _Channel:
    """The registers of a channel; block is what BNDT goes back to for each of repeated blocks."""

    words: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(0, _STRIDE, 4), 0))
    block: int = 0
    nodes: int = 0
    """How many were loaded at the access under way."""

    @property
    def enabled(self) -> bool:
        return bool(self.words[_CR] & _EN)

    @property
    def goes_on(self) -> bool:
        return self.enabled and self.nodes < _LONGEST

    @property
    def by_software(self) -> bool:
        return bool(self.words[_TCR] & _SWRM)

    @property
    def raises_interrupt(self) -> bool:
        return bool(self.words[_ISR] & self.words[_CR] >> _ENABLES & 0x1F)

    def set(self, register: int, value: int) -> None:
        self.words[register] = value & 0xFFFFFFFF
        if register == _BNDTR:
            self.block = value & _COUNT


class Mdma(Registers):
    """The registers.

    requests: by TSEL, whether a trigger asks now. interrupt is called with the level of the interrupt line, wrote with
    address and size of what was written.
    """

    def __init__(
        self,
        space: AddressSpace,
        requests: Mapping[int, Callable[[], bool]],
        interrupt: Callable[[bool], None],
        wrote: Callable[[int, int], None],
    ) -> None:
        super().__init__(0x52000000, 0x1000)
        self._space = space
        self._requests = requests
        self._interrupt = interrupt
        self._wrote = wrote
        self._channels = [_Channel() for _ in range(_CHANNELS)]
        self._moving = False
        self._level = False

    def read_word(self, offset: int) -> int:
        """Read a word; GISR0 comes from the channels."""
        if offset == 0:
            return sum(channel.raises_interrupt << number for number, channel in enumerate(self._channels))
        number, register = divmod(offset - _FIRST, _STRIDE)
        return self._channels[number].words[register] if 0 <= number < _CHANNELS else 0

    def write_word(self, offset: int, value: int) -> None:
        """Write a word; of an enabled channel only IFCR and CR take it (14.5)."""
        number, register = divmod(offset - _FIRST, _STRIDE)
        if not 0 <= number < _CHANNELS:
            return
        channel = self._channels[number]
        if register == _IFCR:
            channel.words[_ISR] &= ~value
        elif register == _CR:
            channel.words[_CR] = value & ~_SWRQ
            if value & _SWRQ and channel.enabled and channel.by_software:
                self._serve(channel)
        elif register not in (_ISR, _ESR) and not channel.enabled:
            channel.set(register, value)
        self.pump()

    def reset(self) -> None:
        """Return to the reset values."""
        self._channels = [_Channel() for _ in range(_CHANNELS)]
        self._update_interrupt()

    def pump(self) -> None:
        """Serve hardware triggers as long as they ask."""
        if self._moving:  # it is our own access that makes the peripheral ask
            return
        for channel in self._channels:
            while channel.goes_on and not channel.by_software and self._asked(channel):
                self._serve(channel)
            channel.nodes = 0
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        level = any(channel.raises_interrupt for channel in self._channels)
        if level != self._level:
            self._level = level
            self._interrupt(level)

    def _asked(self, channel: _Channel) -> bool:
        asks = self._requests.get(channel.words[_TBR] & 0x3F)
        return asks is not None and asks()

    def _serve(self, channel: _Channel) -> None:
        """Do what one request stands for (14.3.3)."""
        wanted = channel.words[_TCR] >> 28 & 3
        self._moving = True
        try:
            while self._move_buffer(channel) < wanted and channel.goes_on:
                pass
        except BusError as error:
            channel.words[_ESR] = error.address & 0x7F
            channel.words[_ISR] |= _TEIF
            channel.words[_CR] &= ~_EN
        finally:
            self._moving = False

    def _move_buffer(self, channel: _Channel) -> int:
        """Move TLEN + 1 bytes, or what is left of the block; return what that has ended, as in TRGM."""
        words = channel.words
        left = words[_BNDTR] & _COUNT
        count = min((words[_TCR] >> 18 & 0x7F) + 1, left)
        self._copy(channel, count)
        words[_BNDTR] -= count
        if words[_MAR]:
            self._space.write_bytes(words[_MAR], words[_MDR].to_bytes(4, "little"))
        words[_ISR] |= _TCIF
        if count < left:
            return _BUFFER
        words[_ISR] |= _BTIF
        if self._next_block(channel):
            return _BLOCK
        words[_ISR] |= _BRTIF
        if self._next_node(channel):
            return _BLOCKS
        words[_ISR] |= _CTCIF
        words[_CR] &= ~_EN
        return _LIST

    def _next_block(self, channel: _Channel) -> bool:
        """Begin the next of repeated blocks; tell whether there is one."""
        words = channel.words
        control, update = words[_BNDTR], words[_BRUR]
        if not control >> 20:
            return False
        for register, step, down in (_SAR, update & 0xFFFF, 1 << 18), (_DAR, update >> 16, 1 << 19):
            words[register] = words[register] + (-step if control & down else step) & 0xFFFFFFFF
        words[_BNDTR] = control - (1 << 20) & ~_COUNT | channel.block
        return True

    def _next_node(self, channel: _Channel) -> bool:
        """Load the registers from the link address; tell whether there is one."""
        if not channel.words[_LAR]:
            return False
        channel.nodes += 1
        node = self._space.read_bytes(channel.words[_LAR], 4 * len(_LINKED))
        for index, register in enumerate(_LINKED):
            channel.set(register, int.from_bytes(node[4 * index : 4 * index + 4], "little"))
        return True

    # --- data -----------------------------------------------------------------------------------------------

    def _copy(self, channel: _Channel, count: int) -> None:
        """Move count bytes from SAR to DAR, and both addresses on."""
        words, control = channel.words, channel.words[_TCR]
        source_size, target_size = 1 << (control >> 4 & 3), 1 << (control >> 6 & 3)
        source_step = _step(control & 3, control >> 8 & 3)
        target_step = _step(control >> 2 & 3, control >> 10 & 3)
        items = [
            self._space.read_bytes(words[_SAR] + source_step * index, min(source_size, count - source_size * index))
            for index in range(-(-count // source_size))
        ]
        words[_SAR] = words[_SAR] + source_step * len(items) & 0xFFFFFFFF
        if control & _PKE or source_size == target_size:
            data = b"".join(items)
        else:  # PAM 00: right aligned, padded with zeros or cut off
            data = b"".join(item.ljust(target_size, b"\0")[:target_size] for item in items)
        for start in range(0, len(data), target_size):
            item = data[start : start + target_size]
            self._space.write_bytes(words[_DAR], item)
            self._wrote(words[_DAR], len(item))
            words[_DAR] = words[_DAR] + target_step & 0xFFFFFFFF


def _step(mode: int, offset: int) -> int:
    """Return by how much an address moves: SINC or DINC is 2 for up, 3 for down; the offset is a power of two."""
    return {2: 1 << offset, 3: -(1 << offset)}.get(mode, 0)
