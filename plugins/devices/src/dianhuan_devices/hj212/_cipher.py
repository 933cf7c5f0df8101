"""SM4 in ECB mode without padding over the data area (HJ 212-2025, 6.4 and A.2).

The characters between `CP=&&` and the closing `&&` are encrypted in groups of 16; fewer than 16 at the end stay
plain. Length and CRC are made on the plain text before, so the CRC tells whether a key was right.
"""

from __future__ import annotations

import re

from dianhuan_sdk import ConfigError, Secret

# Some loggers send the cipher text as the standard prints it: {0xE4,0x3E,…}.
_PRINTED = re.compile(rb"\{(0[xX][0-9A-Fa-f]{2}(?:,\s?0[xX][0-9A-Fa-f]{2})*)\}")


class Sm4:
    """One key, ready to use on many data areas.

    Args:
        key: 16 bytes.
    """

    __slots__ = ("_decrypt", "_encrypt")

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        cipher = Cipher(algorithms.SM4(key), modes.ECB())
        # ECB without padding keeps no state between whole groups, so one context serves every frame.
        self._decrypt = cipher.decryptor().update
        self._encrypt = cipher.encryptor().update

    def decrypt(self, area: bytes) -> bytes:
        """The plain data area, of the same length."""
        whole = len(area) & ~15
        return self._decrypt(area[:whole]) + area[whole:]

    def encrypt(self, area: bytes) -> bytes:
        """The encrypted data area, of the same length."""
        whole = len(area) & ~15
        return self._encrypt(area[:whole]) + area[whole:]


def key_bytes(key: Secret) -> bytes:
    """A station's key from its text: 32 hexadecimal digits, or 16 characters as they are.

    Raises:
        ConfigError: neither; the value is not repeated in the message.
    """
    text = key.reveal().strip()
    if re.fullmatch(r"[0-9A-Fa-f]{32}", text):
        return bytes.fromhex(text)
    if len(text) == 16 and text.isascii():
        return text.encode("ascii")
    raise ConfigError(
        f"an SM4 key of {len(text)} characters",
        expected="32 hexadecimal digits (16 bytes), or 16 ASCII characters",
        hint="give the key that was registered for the station",
    )


def printed_to_raw(area: bytes) -> bytes | None:
    """The raw bytes of a data area that was sent in the printed form `{0xE4,0x3E,…}`; None where it is not one."""
    printed = _PRINTED.match(area)
    if printed is None:
        return None
    return bytes(int(item, 16) for item in printed[1].split(b",")) + area[printed.end() :]
