"""Descriptors of the real-time models: parameters, rules, gates and cards."""

from __future__ import annotations

from dianhuan_models._config import config_of
from dianhuan_models.m01 import RULES, OffConfig, TreatmentOff
from dianhuan_models.m02 import Underload, UnderloadConfig
from dianhuan_models.m03 import OrderConfig, UnderOrder
from dianhuan_models.m04 import Forged, ForgedConfig
from dianhuan_sdk import ModelCard, PluginContext, StreamModelSpec, Text


def _treatment_off(context: PluginContext) -> TreatmentOff:
    return TreatmentOff(config_of(context, OffConfig))


def _underload(context: PluginContext) -> Underload:
    return Underload(config_of(context, UnderloadConfig))


def _under_order(context: PluginContext) -> UnderOrder:
    return UnderOrder(config_of(context, OrderConfig))


def _forged(context: PluginContext) -> Forged:
    return Forged(config_of(context, ForgedConfig))


_NEED_LINKS = Text(
    "回路关系须经人工确认;产治一体回路只能给出“不能判定”",
    "links are confirmed by a person; combined: cannot tell",
)
_NEED_DAY = Text("无额定值的回路须先学习一天", "a circuit without rated load is learned for a day first")

M01 = StreamModelSpec(
    id="m01-treatment-off",
    version="0.1.0",
    zh="产治不同步",
    en="Treatment off while producing",
    window_minutes=30,
    rules=(*RULES, "treatment_unknown"),
    reads=("filed_report", "outage"),
    gates=("G1", "G2", "G3", "G4"),
    alarm_budget=0.03,
    delay_minutes=47.0,
    config_model=OffConfig,
    factory=_treatment_off,
    card=ModelCard(
        purpose=Text("发现生产时治污设施停运", "finds treatment that is off while its production runs"),
        inputs=Text(
            "产污与治污回路功率或电流、报备、停电、设备状态、同站污染因子",
            "power or current of production and treatment circuits, filed reports, outages, device health, factors",
        ),
        algorithm=Text(
            "自学习负荷水平的双态滞回;45 分钟持续(本厂惯常停顿只会延长);另累计停运占比的超出量",
            "two states with hysteresis on learned levels; 45 min persistence, longer by own pauses; and a sum of "
            "the share off beyond the own one",
        ),
        source="recipe of the project's brief; out-of-step rule of running systems",
        false_positives=(
            Text("未报备的检修", "maintenance that was not filed"),
            Text("零值与停机相同的通道失效", "a channel that dies where zero is also its standstill"),
            Text("长于 45 分钟且罕见的反洗或停顿", "rare back-washes or pauses of more than 45 minutes"),
        ),
        limits=(
            _NEED_LINKS,
            _NEED_DAY,
            Text(
                "从安装起一直停运且无额定值的设施看不到",
                "treatment that never ran and has no rated load",
            ),
            Text("占比不到本厂惯常加四分之一的间歇停运看不到", "off and on by less than a quarter above the own share"),
        ),
    ),
)

M02 = StreamModelSpec(
    id="m02-treatment-underload",
    version="0.1.0",
    zh="治污设施低载",
    en="Treatment under-loaded",
    window_minutes=30,
    rules=("treatment_underload",),
    reads=("filed_report", "outage"),
    gates=("G1", "G2", "G3", "G4"),
    alarm_budget=0.02,
    delay_minutes=45.0,
    config_model=UnderloadConfig,
    factory=_underload,
    card=ModelCard(
        purpose=Text("发现治污设施空转、降频、降载", "finds treatment that idles or is throttled"),
        inputs=Text(
            "产污与治污回路功率或电流、报备、停电、设备状态、同站污染因子",
            "power or current of production and treatment circuits, filed reports, outages, device health, factors",
        ),
        algorithm=Text(
            "按产污负荷分档的治产比对数,对本链路基线单侧 CUSUM;可疑时基线冻结",
            "one-sided CUSUM on log(treatment ÷ production) against the own baseline by load bin, frozen when suspect",
        ),
        source="Page (1954) CUSUM; k, h and clip of the project's brief",
        false_positives=(
            Text("换产品或换设备(认可说明后重学)", "another product or equipment (learned anew once accepted)"),
            Text("产污回路新增与治污无关的负荷", "new load on a production circuit that needs no treatment"),
        ),
        limits=(
            _NEED_LINKS,
            Text("每一负荷档先学三小时", "three hours in a load bin come first"),
            Text("缓慢漂移由提前级模型负责", "slow drift belongs to the advance tier"),
            Text("从安装起一直低载的看不到", "under-load since installation is the baseline itself"),
        ),
    ),
)

M03 = StreamModelSpec(
    id="m03-under-order",
    version="0.1.0",
    zh="管控期违规生产",
    en="Production under an order",
    window_minutes=30,
    rules=("production_under_order",),
    reads=("order", "filed_report"),
    gates=("G1", "G3", "G4"),
    alarm_budget=0.005,
    delay_minutes=35.0,
    config_model=OrderConfig,
    factory=_under_order,
    card=ModelCard(
        purpose=Text(
            "发现关停、查封、错峰、夜间禁止期间的生产",
            "finds production under a closure, stop, seal, off-peak or night order",
        ),
        inputs=Text("产污回路负荷、管控指令、报备", "load of production circuits, orders, filed reports"),
        algorithm=Text(
            "高于本回路空载 99 % 分位的 1.5 倍且持续 30 分钟", "above 1.5 × q99 of the own idle load for 30 minutes"
        ),
        source="recipe of the project's brief; night of GB 12348",
        false_positives=(
            Text("拆除、检修、看护用电", "dismantling, repair, caretakers"),
            Text("收尾超过半小时的工艺", "processes that take more than half an hour to wind down"),
        ),
        limits=(
            Text("限产比例由日级模型判定", "limits by percent belong to the daily tier"),
            Text("指令期间没有监测的回路看不到", "circuits without a meter"),
            _NEED_DAY,
        ),
    ),
)

M04 = StreamModelSpec(
    id="m04-forged-data",
    version="0.1.0",
    zh="数据造假与失真",
    en="Frozen, replayed, forged data",
    window_minutes=30,
    rules=("frozen", "replayed", "energy_balance"),
    reads=("filed_report", "outage"),
    gates=("G1", "G2", "G3", "G4"),
    alarm_budget=0.01,
    delay_minutes=480.0,
    config_model=ForgedConfig,
    factory=_forged,
    card=ModelCard(
        purpose=Text(
            "发现冻结、重放的数据和不平衡的电量",
            "finds frozen or replayed data, and energy that does not add up",
        ),
        inputs=Text("所有回路的负荷、总表", "load of all circuits, the plant's meter"),
        algorithm=Text(
            "相同值游程与七日内半小时均值一致游程,阈值取自本通道的偶然概率;总表与回路之和之比的小时 CUSUM",
            "runs of equal values, and of half-hour means that agree with one of the seven days before, against the "
            "channel's own chance; hourly CUSUM of total ÷ sum of circuits",
        ),
        source="run-length rule of the project's brief; Page (1954) CUSUM",
        false_positives=(
            Text("量化很粗的恒速泵(阈值随之变长)", "pumps of constant speed with coarse values (the run gets longer)"),
            Text("未登记的换表", "a meter change that nobody told"),
        ),
        limits=(
            Text("八天之前的曲线重放看不到", "a copy of a day more than seven days before"),
            Text("按比例缩放全部回路(含总表)看不到", "all circuits and the plant's meter scaled alike"),
            Text("空载与零值的重复不判", "repeats at idle or zero are not judged"),
        ),
    ),
)

STREAM_SPECS: tuple[StreamModelSpec, ...] = (M01, M02, M03, M04)
