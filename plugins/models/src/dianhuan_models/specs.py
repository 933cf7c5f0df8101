"""Descriptors of the models: parameters, inputs, gates and cards."""

from __future__ import annotations

from dianhuan_models._config import config_of
from dianhuan_models._curve_specs import CURVE_SPECS
from dianhuan_models._shapes import BINS
from dianhuan_models.m05 import NightConfig, NightOnly
from dianhuan_models.m06 import HiddenConfig, HiddenWorkshop
from dianhuan_models.m09 import Rebound, ReboundConfig
from dianhuan_models.m10 import PeerConfig, PeerOutlier
from dianhuan_sdk import ModelCard, ModelSpec, PluginContext, Text


def _night_only(context: PluginContext) -> NightOnly:
    return NightOnly(config_of(context, NightConfig))


def _hidden(context: PluginContext) -> HiddenWorkshop:
    return HiddenWorkshop(config_of(context, HiddenConfig))


def _rebound(context: PluginContext) -> Rebound:
    return Rebound(config_of(context, ReboundConfig))


def _peer_outlier(context: PluginContext) -> PeerOutlier:
    return PeerOutlier(config_of(context, PeerConfig))


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
        "h09_kw",
        "h15_kw",
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
            Text("许可登记缺失的固定夜班企业", "steady night shifts whose permission is missing from the register"),
            Text("随天气变化的夜间电采暖", "night heating that follows the weather"),
        ),
        limits=(
            Text("昼夜连续的偷产看不到", "production round the clock is not seen"),
            Text("只用谷电的无证夜班不报", "a night shift that keeps to valley hours is silent"),
            Text("权重为专家取值,待核查结果校准", "weights are judgements until inspections calibrate them"),
            Text("分块计算会使同业组变小", "smaller blocks make smaller peer groups and change the score"),
        ),
    ),
)

M06 = ModelSpec(
    id="m06-hidden-workshop",
    version="0.1.0",
    zh="隐蔽作坊",
    en="Hidden workshop on another tariff",
    tier="daily",
    window_days=28,
    features=("points", "kwh", "max_kw", "rough", *BINS),
    reads=(),
    gates=("G1", "G2", "G3", "G5", "G6", "G7"),
    alarm_budget=0.0005,
    config_model=HiddenConfig,
    factory=_hidden,
    card=ModelCard(
        purpose=Text(
            "发现居民、农业、商业电价下的工业生产",
            "finds industrial production behind a residential, agricultural or commercial tariff",
        ),
        inputs=Text("28 天日特征、电价类别、行业、容量", "daily features of 28 days, tariff class, industry, capacity"),
        algorithm=Text(
            "从全市学得 64 个日周曲线原型,取原型的工业后验;再要求电量高于同业 99 %",
            "64 prototypes of the weekly shape learnt from the city, industrial posterior of the nearest one; and more "
            "energy than 99 % of the peers",
        ),
        source="recipe of the project's brief; Xingtai (2021) and Nanjing (2020) use the same inputs",
        false_positives=(
            Text("电价类别登记错误的合法工厂", "lawful plants whose tariff class is wrong in the register"),
            Text("一班制、节奏整齐的大型服务场所", "large one-shift service sites with regular rhythm"),
        ),
        limits=(
            Text("小作坊(同业 99 % 以下)不报", "workshops below the peers' 99 % are silent"),
            Text("无功、三相数据尚未使用", "reactive power and phases are not used yet"),
            Text("工业或其他一侧不足 30 户时不判", "silent below 30 enterprises on either side"),
        ),
    ),
)

M09 = ModelSpec(
    id="m09-rebound",
    version="0.1.0",
    zh="死灰复燃",
    en="Rebound after closure",
    tier="daily",
    window_days=28,
    features=("points", "kwh", "night_kw"),
    reads=("order", "permit"),
    gates=("G1", "G2", "G3", "G5", "G7"),
    alarm_budget=0.0002,
    config_model=ReboundConfig,
    factory=_rebound,
    card=ModelCard(
        purpose=Text("发现关闭取缔后恢复用电的企业", "finds enterprises that run again after a closure order"),
        inputs=Text(
            "关闭指令、许可、28 天日特征;坐标(搬迁规则)",
            "closure orders, permits, daily features of 28 days; coordinates (relocation rule)",
        ),
        algorithm=Text(
            "最近 5 日中 3 日高于 max(5 × 空载,关闭前 10 %);300 m 内邻户新增同形负荷",
            "3 of the last 5 days above max(5 × idle, 10 % of before); a neighbour within 300 m gains the same shape",
        ),
        source="recipe of the project's brief",
        false_positives=(
            Text("拆除施工、看护用电", "dismantling works, caretakers"),
            Text("合法的新租户", "lawful new tenants"),
        ),
        limits=(
            Text(
                "关闭早于窗口时只与空载和容量比较",
                "older closures are compared with idle and capacity only",
            ),
            Text("无坐标或关闭早于窗口时不查搬迁", "relocation needs coordinates and a closure inside the window"),
        ),
    ),
)

M10 = ModelSpec(
    id="m10-peer-outlier",
    version="0.1.0",
    zh="同业离群",
    en="Peer-group outlier",
    tier="daily",
    window_days=28,
    features=("points", "kwh", "night_kw"),
    reads=(),
    gates=("G1", "G2", "G3", "G5", "G6", "G7"),
    alarm_budget=0.001,
    config_model=PeerConfig,
    factory=_peer_outlier,
    card=ModelCard(
        purpose=Text(
            "发现同时偏离自身历史和同业的负荷强度或夜间占比",
            "finds load per capacity or night share that left both the own past and the peers",
        ),
        inputs=Text("28 天日特征、行业、规模、电价", "daily features of 28 days, industry, size, tariff"),
        algorithm=Text(
            "自身稳健 z > 4 且高于同业 99.5 %,同一指标同一方向;扣除同业共同变化",
            "own robust z > 4 and above 99.5 % of the peers, same quantity, same direction, net of the peers' change",
        ),
        source="double three-sigma rule of patent CN114049033B in robust form",
        false_positives=(
            Text("合法扩产、新设备投运", "lawful growth, new equipment"),
            Text("合同容量登记过低", "contract capacity registered too low"),
        ),
        limits=(
            Text("只看偏高一侧;骤降由数据质量模型处理", "high side only; drops belong to the data-quality model"),
            Text("同业不足 200 户时退到更宽的组", "backs off to wider groups below 200 peers"),
            Text("长期偏高而无变化的不报", "always high without a change is silent"),
        ),
    ),
)

SPECS: tuple[ModelSpec, ...] = (M05, M06, M09, M10, *CURVE_SPECS)
