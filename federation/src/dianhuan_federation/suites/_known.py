"""The suites that this installation can verify."""

from __future__ import annotations

from importlib.util import find_spec

from dianhuan_federation.core import Suites
from dianhuan_federation.suites._sm2 import Sm2Sm3


def known_suites() -> Suites:
    """Ed25519, and SM2-SM3 where its library is installed (`pip install dianhuan-federation[sm]`).

    Without the library a hub that requires SM2-SM3 is refused by name in V1, never half verified.
    """
    return Suites([Sm2Sm3()] if find_spec("gmssl_pyx") else [])
