"""Descriptors of M7, M8, M11, M12 and M13: rain, curtailment, and the advance tier."""

from __future__ import annotations

from dianhuan_models._config import config_of
from dianhuan_models.m07 import RainConfig, RainOpportunism
from dianhuan_models.m08 import Curtailment, CurtailmentConfig
from dianhuan_models.m11 import DriftConfig, RatioDrift
from dianhuan_models.m12 import ComingConfig, ComingViolation
from dianhuan_models.m13 import AtRisk, AtRiskConfig
from dianhuan_sdk import ModelCard, ModelSpec, PluginContext, Text


def _rain(context: PluginContext) -> RainOpportunism:
    return RainOpportunism(config_of(context, RainConfig))


def _curtailment(context: PluginContext) -> Curtailment:
    return Curtailment(config_of(context, CurtailmentConfig))


def _drift(context: PluginContext) -> RatioDrift:
    return RatioDrift(config_of(context, DriftConfig))


def _coming(context: PluginContext) -> ComingViolation:
    return ComingViolation(config_of(context, ComingConfig))


def _at_risk(context: PluginContext) -> AtRisk:
    return AtRisk(config_of(context, AtRiskConfig))


M07 = ModelSpec(
    id="m07-rain-opportunism",
    version="0.1.0",
    zh="雨天与静稳天异常增产",
    en="Load raised in rain or bad dispersion",
    tier="daily",
    window_days=112,
    features=("points", "kwh"),
    reads=("weather",),
    gates=("G1", "G2", "G3", "G5", "G6", "G7"),
    alarm_budget=0.0005,
    config_model=RainConfig,
    factory=_rain,
    card=ModelCard(
        purpose=Text(
            "发现一到下雨或静稳天气就增加用电的企业(雨水可稀释废水,静稳天气下夜排不易察觉)",
            "finds enterprises whose load rises whenever it rains, or whenever the air stands still",
        ),
        inputs=Text(
            "112 天日电量、候选户与参照户的 96 点曲线、逐时雨量、风速、逆温、日历、电价时段",
            "daily energy of 112 days, raw curves of candidates and of a reference sample, hourly rain, wind and "
            "inversion, calendar, tariff periods",
        ),
        algorithm=Text(
            "病例交叉:每次降雨与自身 28 天内同日类型、同电价、同时段的无雨日相比,配对置换检验;"
            "全市参照样本给出经验零分布,再控制错误发现率",
            "case-crossover: each wet episode against the same hours of own dry days of like type and tariff within "
            "28 days, permutation within matched sets; an empirical null from a reference sample; Benjamini–Hochberg",
        ),
        source="Maclure 1991 (case-crossover); Efron 2004 (empirical null); recipe of the project's brief",
        false_positives=(
            Text("排水泵、雨天通风除湿", "drainage pumps, ventilation and drying in wet weather"),
            Text("雨天转入室内的作业", "work that moves indoors when it rains"),
            Text("以雨天为生产窗口的合法工艺", "lawful processes that need wet or cool weather"),
        ),
        limits=(
            Text("窗口 112 天内少于 6 次有效降雨不判", "silent below six usable episodes in 112 days"),
            Text("看负荷不看排放:升高只是机会", "sees load, not discharge: a rise is an opportunity only"),
            Text("雨量以县区为单位,局地阵雨会漏", "rain is known per district: local showers are missed"),
            Text("不足一半降雨日增产的不报", "who does it in fewer than half of the episodes is mostly silent"),
        ),
    ),
)

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
        source="ASHRAE Guideline 14 (CV, FSU); placebo in time as for synthetic controls; the project's brief",
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

M11 = ModelSpec(
    id="m11-ratio-drift",
    version="0.1.0",
    zh="治污比下滑",
    en="Drift of the treatment ratio",
    tier="advance",
    window_days=28,
    features=("points",),
    reads=("channel", "reading"),
    gates=("G3", "G7"),
    alarm_budget=0.001,
    config_model=DriftConfig,
    factory=_drift,
    card=ModelCard(
        purpose=Text(
            "预报治污与产污用电比何时跌破下限,先提醒企业检修(先帮后查)",
            "forecasts when treatment over production load will fall below the least allowed; tells the plant first",
        ),
        inputs=Text(
            "治污、产污分表通道 26 周的读数(功率,其次电流);不读总表曲线",
            "readings of treatment and production circuits over 26 weeks (power, else current); no grid curve",
        ),
        algorithm=Text(
            "按负荷修正的对数比取周中位数,扣除同城共同变化,Theil–Sen 趋势外推得 30 日内跌破概率;"
            "共形鞅给出“无变化”的反证,台阶变化除外",
            "weekly medians of the load-adjusted log ratio, net of the plants' common move; Theil–Sen trend gives "
            "P(cross in 30 days); a conformal martingale weighs the evidence against 'no change'; single steps are out",
        ),
        source="Sen 1968; Vovk, Gammerman, Shafer 2005 (test martingales); recipe of the project's brief",
        false_positives=(
            Text("产品结构缓慢改变", "a product mix that changes slowly"),
            Text("治污设备节能改造分期投运", "efficient treatment equipment brought in by stages"),
        ),
        limits=(
            Text("需要分表;产治一体回路不判", "needs separate circuits; a combined circuit is not judged"),
            Text(
                "许可最低治污比未结构化,以自身头四周的 70 % 代替",
                "no permitted minimum in the tables: 70 % of the own first four weeks stands in",
            ),
            Text("少于 8 周不判", "silent below eight weeks"),
            Text(
                "读数表整表交给模型;细粒度城市应先汇成日均",
                "gets the whole table of readings: a city with fine ones should hand over daily means",
            ),
        ),
    ),
)

M12 = ModelSpec(
    id="m12-coming-violation",
    version="0.1.0",
    zh="违规预报",
    en="Forecast of a coming violation",
    tier="advance",
    window_days=28,
    features=("points",),
    reads=("case", "order", "outcome", "warning"),
    gates=("G1", "G3", "G7"),
    alarm_budget=0.001,
    config_model=ComingConfig,
    factory=_coming,
    card=ModelCard(
        purpose=Text(
            "预报未来 7 日内查实违规的概率,供排序和帮扶",
            "forecasts the probability that a violation is verified within seven days, for ranking and for help",
        ),
        inputs=Text(
            "预警、案件、核查结果、管控指令的历史;不读曲线",
            "the history of warnings, cases, outcomes and orders; no curve",
        ),
        algorithm=Text(
            "按周的离散时间风险:系数非负的逻辑回归,八个前推折做等渗校准和 Brier 技巧检验;"
            "查实不足 30 次或无技巧时退回规则",
            "weekly discrete-time hazard: logistic with coefficients that are not negative, isotonic calibration and a "
            "Brier test on eight forward folds; rules below 30 verified weeks or without skill",
        ),
        source="discrete-time survival analysis (Singer and Willett 1993); recipe of the project's brief",
        false_positives=(
            Text("常被检查的企业更容易被查实(选择偏差)", "who is visited often is found often: selection"),
            Text("模型误报多的企业", "enterprises about which models often err"),
        ),
        limits=(
            Text(
                "无任何预警、核查或指令历史的企业不报", "silent about enterprises without any warning, visit or order"
            ),
            Text(
                "学的是“被查实”(含被查的机会),不是“违规”;随机核查份额可纠偏,尚未加权",
                "learns 'was verified', the chance of a visit included, not 'violated'; the random share of visits is "
                "not yet used as weights",
            ),
            Text("未用价差、天气预报、邻户", "price spread, weather forecast and neighbours are not used"),
            Text("冷启动的概率未经校准", "probabilities of a cold start are not calibrated"),
        ),
    ),
)

M13 = ModelSpec(
    id="m13-order-or-quota-at-risk",
    version="0.1.0",
    zh="难以达标预警",
    en="Order or monthly limit at risk",
    tier="advance",
    window_days=56,
    features=("points", "kwh"),
    reads=("order",),
    gates=("G1", "G3", "G5", "G6", "G7"),
    alarm_budget=0.001,
    config_model=AtRiskConfig,
    factory=_at_risk,
    card=ModelCard(
        purpose=Text(
            "提前告知企业:明日的限产、停产指令或本月的限产比例很可能达不到(先帮后查)",
            "tells a plant beforehand that it is about to miss tomorrow's order or this month's limit: help first",
        ),
        inputs=Text(
            "56 天日电量、已下达和已公布的管控指令、日历",
            "daily energy of 56 days, orders in force and announced, calendar",
        ),
        algorithm=Text(
            "按日类型的水平加近期漂移,自身回测误差给出共形区间;叠加本指令、自身以往或全市的响应,得超限概率;"
            "月末用已用量加余日预测",
            "level by type of day plus recent drift, conformal intervals from own backtested misses; with the response "
            "to this order, to earlier ones or the city's, gives P(load > cap); month end from what is used and due",
        ),
        source="seasonal naive with split conformal intervals (Vovk et al. 2005); recipe of the project's brief",
        false_positives=(
            Text("企业已安排明日停产检修但尚未报备", "a stoppage planned for tomorrow and not yet filed"),
            Text("指令按产量计,用电不等比例下降", "orders by output, which load follows only in part"),
        ),
        limits=(
            Text("明日按星期判断日类型,临近节假日会偏高", "tomorrow's type is its weekday: too high before holidays"),
            Text("许可时段与许可电量未结构化,不判", "permitted hours and quotas are not structured data: not judged"),
            Text("无天气预报输入", "no weather forecast among the inputs"),
            Text("结论先送企业,不作处罚依据", "goes to the plant first and is no ground for a fine"),
        ),
    ),
)

CURVE_SPECS: tuple[ModelSpec, ...] = (M07, M08, M11, M12, M13)
