"""The check sum of HJ 212 (Annex A): its own register walk, no library's CRC-16.

The register starts at 0xFFFF; for each byte `reg = (reg >> 8) ^ byte`, then eight shifts to the right with
xor 0xA001 where the bit shifted out was 1. Only the high byte of the register reaches the next step, so with
T the 256-entry table of the eight shifts and H its high byte, h' = H[h ^ byte] and the result is T[h ^ last byte].
T is linear over GF(2), so bytes can be combined in any grouping: a whole frame is folded in quarters
with `bytes.translate` and big-integer xor, log4(n) steps instead of n.
"""

from __future__ import annotations


def _shifts(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ 0xA001 if value & 1 else value >> 1
    return value


TABLE: tuple[int, ...] = tuple(_shifts(b) for b in range(256))
"""T: the register after one byte, by (high byte of the register) ^ byte."""

_HIGH = bytes(t >> 8 for t in TABLE)
# _POWERS[k] maps a byte over 2^k zero bytes.
_POWERS: list[bytes] = [_HIGH]
for _ in range(13):
    _POWERS.append(_POWERS[-1].translate(_POWERS[-1]))


def _folds(bits: int) -> tuple[tuple[int, bytes] | None, tuple[tuple[int, int, int, bytes, bytes, bytes], ...]]:
    """Steps from 2^bits bytes down to eight: one in halves where their number is odd, the others in quarters."""
    halves = None
    if (bits - 3) % 2:
        bits -= 1
        halves = (1 << bits, _POWERS[bits])
    quarters = []
    while bits > 3:
        bits -= 2
        size, one, two = 1 << bits, _POWERS[bits], _POWERS[bits + 1]
        quarters.append((size, 2 * size, 3 * size, one, two, two.translate(one)))
    return halves, tuple(quarters)


_FOLDS = {bits: _folds(bits) for bits in range(5, 14)}
_LONGEST = 1 << 13


def _starts() -> bytes:
    values, high = [0], 0xFF
    for _ in range(_LONGEST):
        values.append(high)
        high = _HIGH[high]
    return bytes(values)


_number = int.from_bytes

# _START[n] is what the register's 0xFF has become at the last of n bytes.
_START = _starts()


def crc16(data: bytes) -> int:
    """CRC of a data segment, 0 … 65535."""
    size = len(data)
    if size <= 16 or size > _LONGEST:
        return walk(data)
    bits = (size - 1).bit_length()
    block = data.rjust(1 << bits, b"\0")
    halves, quarters = _FOLDS[bits]
    if halves is not None:
        half, power = halves
        block = (_number(block[:half].translate(power)) ^ _number(block[half:])).to_bytes(half)
    for one, two, three, by_one, by_two, by_three in quarters:
        block = (
            _number(block[:one].translate(by_three))
            ^ _number(block[one:two].translate(by_two))
            ^ _number(block[two:three].translate(by_one))
            ^ _number(block[three:])
        ).to_bytes(one)
    a, b, c, d, e, f, g, last = block
    high = _HIGH
    return TABLE[high[high[high[high[high[high[high[a] ^ b] ^ c] ^ d] ^ e] ^ f] ^ g] ^ last ^ _START[size]]


def walk(data: bytes) -> int:
    """The same value by one table look-up a byte: short input, and the reference of the fold."""
    register = 0xFFFF
    for byte in data:
        register = TABLE[(register >> 8) ^ byte]
    return register


def tail(data: bytes) -> tuple[bytes, int]:
    """A fixed end of data in a CRC: `TABLE[table[h] ^ constant]`, with `h` from `walk_high` before it."""
    high = 0
    for byte in data[:-1]:
        high = _HIGH[high ^ byte]
    table = bytes(range(256))
    for _ in data[:-1]:
        table = table.translate(_HIGH)
    return table, high ^ data[-1]


def walk_high(high: int, data: bytes) -> int:
    """High byte of the register after `data`, from `high` before it (0xFF at the start)."""
    step = _HIGH
    for byte in data:
        high = step[high ^ byte]
    return high


def crc_text(data: bytes) -> str:
    """CRC as it stands in a frame: four upper-case hexadecimal digits."""
    return f"{crc16(data):04X}"
