"""Keys and rows that the tests share; every key comes from a fixed seed."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from dianhuan_federation.core import Ed25519Signer


@pytest.fixture(scope="session")
def signer() -> Callable[[str], Ed25519Signer]:
    """An Ed25519 signer by name, the same in every run."""
    return lambda name: Ed25519Signer(sha256(f"test key {name}".encode()).digest())


@pytest.fixture
def warning_row() -> Callable[..., dict[str, Any]]:
    """A valid row of the warning schema; keyword arguments replace columns."""

    def make(number: int = 1, **changes: Any) -> dict[str, Any]:
        row: dict[str, Any] = {
            "record_id": f"w-{number:06d}",
            "enterprise": "91430100MA4L16JK8X",
            "enterprise_name": "湘江化工有限公司",
            "division": "430200",
            "industry": "C2614",
            "day": "2026-11-23",
            "model_id": "m05-night-only",
            "model_version": "1.2",
            "score": f"0.{number % 10000:04d}",
            "raised_at": "2026-11-24T06:30:00Z",
        }
        return {**row, **changes}

    return make
