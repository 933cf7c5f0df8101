"""Descriptors of the models: parameters, inputs, gates and cards."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from dianhuan_models.m05 import NightConfig, NightOnly
from dianhuan_sdk import ConfigError, ModelCard, ModelSpec, PluginContext, Text

Config = TypeVar("Config", bound=BaseModel)


def _config(context: PluginContext, model: type[Config]) -> Config:
    if not isinstance(context.config, model):
        raise ConfigError(
            f"configuration of type {type(context.config).__name__}",
            expected=f"an instance of the model's own config_model, {model.__name__}",
            hint="the host builds one context per model from ModelSpec.config_model",
        )
    return context.config


def _night_only(context: PluginContext) -> NightOnly:
    return NightOnly(_config(context, NightConfig))


M05 = ModelSpec(
    id="m05-night-only",
    version="0.1.0",
    zh="夜间偷产与未验先投",
    en="Night-only production and load before acceptance",
    tier="daily",
    window_days=28,
    features=(
        "points",
        "kwh",
        "night_kw",
        "day_kw",
        "late_kw",
        "valley_kwh",
        "min_kw",
        "day_on",
        "night_rough",
    ),
    reads=("acceptance",),
    gates=("G1", "G2", "G3", "G5", "G6", "G7"),
    alarm_budget=0.0005,
    config_model=NightConfig,
    factory=_night_only,
    card=ModelCard(
        purpose=Text(
            "发现只在夜间生产且未获许可的企业,以及批复后未验收即投产的企业",
            "finds enterprises that produce at night only without permission, and projects in production before "
            "their environmental acceptance",
        ),
        inputs=Text(
            "28 天日特征、候选户的 96 点曲线、许可、验收、电价时段、日历",
            "daily features of 28 days, raw curves of candidates, permit, acceptance, tariff periods, calendar",
        ),
        algorithm=Text(
            "夜间占比与同业中位数之比、不规律度、变化,减去白天开机、谷电、平滑、光伏、行业解释;逻辑函数得分",
            "log-odds of the night share against the peers' median, irregularity and change, less what day work, "
            "valley tariff, smooth load, PV and the industry explain; logistic score",
        ),
        source="night rule 1.5 × of the Zhuzhou platform (2018); irregularity and change after the project's brief",
        false_positives=(
            Text("不规律的合法谷电生产", "legal valley-tariff work with irregular starts"),
            Text("未登记光伏且早晚无负荷的企业", "unregistered PV at a plant without load in morning and evening"),
            Text("许可登记缺失的夜班企业", "night shifts whose permission is missing from the register"),
        ),
        limits=(
            Text("昼夜连续的偷产看不到", "production round the clock is not seen"),
            Text("只用谷电的无证夜班不报", "a night shift that keeps to valley hours is silent"),
            Text("权重为专家取值,待核查结果校准", "weights are judgements until inspections calibrate them"),
            Text("分块计算会使同业组变小", "smaller blocks make smaller peer groups and change the score"),
        ),
    ),
)

SPECS: tuple[ModelSpec, ...] = (M05,)
