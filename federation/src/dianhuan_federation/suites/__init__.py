"""Signature suites beside Ed25519. Each comes through `core.Suites`, as a post-quantum suite would."""

from dianhuan_federation.suites._known import known_suites
from dianhuan_federation.suites._sm2 import SM2_SM3, Sm2Key, Sm2Signer, Sm2Sm3, sm2_digest, sm2_signature

__all__ = ["SM2_SM3", "Sm2Key", "Sm2Signer", "Sm2Sm3", "known_suites", "sm2_digest", "sm2_signature"]
