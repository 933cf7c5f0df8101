"""Descriptors of M7, M8, M11, M12 and M13: rain, curtailment, and the advance tier."""

from __future__ import annotations

from dianhuan_models._config import config_of
from dianhuan_models.m08 import Curtailment, CurtailmentConfig
from dianhuan_sdk import ModelCard, ModelSpec, PluginContext, Text


def _curtailment(context: PluginContext) -> Curtailment:
    return Curtailment(config_of(context, CurtailmentConfig))


M08 = ModelSpec(
    id="m08-curtailment-compliance",
    version="0.1.0",
    zh="限产核查",
    en="Curtailment compliance",
    tier="daily",
    window_days=60,
    features=("points", "kwh"),
    reads=("order", "weather"),
    gates=("G1", "G2", "G3", "G5", "G6", "G7"),
    alarm_budget=0.0005,
    config_model=CurtailmentConfig,
    factory=_curtailment,
    card=ModelCard(
        purpose=Text(
            "核查受限产或停产指令的企业是否真的减少了用电:达标、未达标或不能判定",
            "verifies whether an enterprise under an order to limit or stop used less: complied, not, or cannot tell",
        ),
        inputs=Text(
            "60 天日电量、管控指令、逐时气温、日历;未受管控的同业",
            "daily energy of 60 days, orders, hourly temperature, calendar; peers without an order",
        ),
        algorithm=Text(
            "自身按日类型和气温的稳健基准,减去 40 家最相似未管控同业的共同变化;以指令前等长窗口作安慰剂检验,"
            "分别检验“已达标”和“削减不超过 12 %”",
            "own robust baseline by type of day and temperature, net of the 40 most alike uncurtailed peers; placebo "
            "windows of the same length before the order test both 'cut as ordered' and 'cut no more than 12 %'",
        ),
        source="ASHRAE Guideline 14 (CV, FSU); placebo-in-time inference of synthetic control; recipe of the project's brief",
        false_positives=(
            Text("按产量而非用电下达的限产", "orders that limit output, met without using less electricity"),
            Text(
                "豁免设备(保温、治污)占比大的企业", "plants whose exempt equipment (heating, treatment) takes most load"
            ),
            Text("指令前恰逢订单低谷,基准偏低", "a slump of orders before, which makes the baseline low"),
        ),
        limits=(
            Text(
                "只按日电量判断,不看错峰时段内的转移",
                "daily energy only: shifts within a day and off-peak orders are not judged",
            ),
            Text("只写明比例的限产和停产可判;其他指令不判", "orders to stop, or to limit by a stated share; no others"),
            Text("日变异大时一至三天不能判定", "one to three days cannot be judged where days vary much"),
            Text("生产与非生产负荷未分表", "production is not metered apart from other load"),
        ),
    ),
)

CURVE_SPECS: tuple[ModelSpec, ...] = (M08,)
