"""A model that cries wolf, and small cities."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from dianhuan_sdk import Finding, ModelCard, ModelSpec, Text

WORDS = Text("词", "words")


class NoConfig(BaseModel):
    """Nothing to set."""

    model_config = ConfigDict(extra="forbid")


class Wolf:
    """Warns of every enterprise whose night is above its day, and of all closed ones; reads what lies in the future."""

    def __init__(self, *, peeks: bool) -> None:
        self.peeks = peeks

    def score(self, block, context):
        night, day = (np.nan_to_num(block.feature(n)[:, -1]) for n in ("night_kw", "day_kw"))
        rows = set(np.flatnonzero(night > 1.5 * np.maximum(day, 0.01)).tolist())
        ids = block.entities["entity_id"].to_pylist()
        if self.peeks:
            reports = context.tables["filed_report"].to_pylist()
            later = [r["entity_id"] for r in reports if r["filed_at"].date() > context.as_of]
            rows |= {ids.index(e) for e in later}
        return [Finding(ids[r], context.as_of, "wolf", "suspect", 0.5, (WORDS,), (WORDS,), {}) for r in sorted(rows)]


@pytest.fixture
def wolf():
    """Makes the descriptor of the model."""

    def make(budget: float = 0.0005, *, peeks: bool = False) -> ModelSpec:
        card = ModelCard(WORDS, WORDS, WORDS, "none", (), ())
        return ModelSpec(
            "x01-wolf", "1", "狼", "Wolf", "daily", 7, ("night_kw", "day_kw"), ("filed_report",), (), budget, NoConfig,
            lambda context: Wolf(peeks=peeks), card,
        )  # fmt: skip

    return make
