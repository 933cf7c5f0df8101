"""Ways of fusing findings into a probability: a logistic model with few parameters, then monotone boosting."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from dianhuan_models.fusion._boosting import Boosting
from dianhuan_models.fusion._logistic import Logistic
from dianhuan_sdk import FusionSpec

__all__ = ["FUSIONS", "Boosting", "BoostingConfig", "Logistic", "LogisticConfig"]


class LogisticConfig(BaseModel):
    """Parameters of `logistic`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    ridge: float = Field(default=1.0, gt=0, description="penalty on the squared coefficients, in visits")


class BoostingConfig(BaseModel):
    """Parameters of `boosting`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    trees: int = Field(default=120, ge=1, le=2000)
    leaves: int = Field(default=6, ge=2, le=64)
    rate: float = Field(default=0.06, gt=0, le=1)
    least_in_leaf: int = Field(default=15, ge=1)


def _logistic(config: LogisticConfig) -> Logistic:
    return Logistic(config.ridge)


def _boosting(config: BoostingConfig) -> Boosting:
    return Boosting(config.trees, config.leaves, config.rate, config.least_in_leaf)


FUSIONS = (
    FusionSpec(
        "logistic",
        "1.0",
        "逻辑回归",
        "logistic regression, no coefficient below zero",
        100,
        10,
        LogisticConfig,
        lambda context: _logistic(context.config),  # type: ignore[arg-type]
    ),
    FusionSpec(
        "boosting",
        "1.0",
        "单调提升树",
        "monotone gradient boosting",
        300,
        60,
        BoostingConfig,
        lambda context: _boosting(context.config),  # type: ignore[arg-type]
    ),
)
