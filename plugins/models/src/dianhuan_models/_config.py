"""The configuration that the host hands to one model."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from dianhuan_sdk import ConfigError, PluginContext

Config = TypeVar("Config", bound=BaseModel)


def config_of(context: PluginContext, model: type[Config]) -> Config:
    """The context's configuration, of the type that the model declares.

    Raises:
        ConfigError: it is of another type.
    """
    if not isinstance(context.config, model):
        raise ConfigError(
            f"configuration of type {type(context.config).__name__}",
            expected=f"an instance of the model's own config_model, {model.__name__}",
            hint="the host builds one context per model from ModelSpec.config_model",
        )
    return context.config
