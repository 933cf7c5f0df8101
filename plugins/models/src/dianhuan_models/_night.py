"""Industries (GB/T 4754-2017) in which load at night is ordinary and needs no permit for night production."""

from __future__ import annotations

from dianhuan_sdk import Text

NIGHT_INDUSTRIES: dict[str, Text] = {
    "A": Text("农林牧渔", "farming, livestock, fishery"),
    "C141": Text("焙烤食品", "bakeries"),
    "D": Text("电力热力燃气供水", "power, heat, gas and water supply"),
    "E": Text("建筑业", "construction"),
    "F52": Text("零售(含24小时店)", "retail, with round-the-clock shops"),
    "G": Text("交通运输、仓储(含冷库、充电场站)", "transport and storage, with cold stores and vehicle depots"),
    "H": Text("住宿餐饮", "hotels and restaurants"),
    "I": Text("信息传输(基站、机房)", "telecom sites and data centres"),
    "N78": Text("公共设施(路灯等)", "public facilities such as street lighting"),
    "O": Text("居民服务", "services to residents"),
    "P": Text("教育", "education"),
    "Q": Text("卫生", "health care"),
    "R": Text("文体娱乐", "culture, sport and entertainment"),
}


def night_industry(code: str) -> Text | None:
    """The reason why night load is ordinary in that industry, or None."""
    for letters in (4, 3, 1):
        if code[:letters] in NIGHT_INDUSTRIES:
            return NIGHT_INDUSTRIES[code[:letters]]
    return None
