"""Who people are on paper: unified social credit codes, names, numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from dianhuan_simulator._random import Ints

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
"""GB 32100-2015: 31 characters, no I, O, S, V, Z."""

_BYTES = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)
_WEIGHTS = np.array([pow(3, i, 31) for i in range(17)])
_ORG_WEIGHTS = np.array([3, 7, 9, 10, 5, 8, 4, 2])
_ORG_VALUE = np.array([int(c, 36) for c in ALPHABET])
_ORG_CHECK = np.array([ALPHABET.index(c) for c in "0123456789X"])

_FIRST = "宏鑫恒华盛安瑞泰金永兴昌德顺长丰湘楚锦天嘉佳诚信和润众友利达富源裕福旺隆腾飞新康健美乐悦千百万云"
_SECOND = "达源泰盛丰利兴通发顺祥瑞康和美佳洁成辉煌宇星辰海峰林森茂阳光明亮晨曦航帆远图途博文雅韵泽润河江"
ROADS = ("建设路", "新华路", "人民路", "长江路", "黄河路", "工业大道", "珠江路", "迎宾路", "解放路", "泰山路", "神农路")
_SURNAMES = "王李张刘陈杨黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕"
_GIVEN = "伟芳娜敏静强磊军洋勇艳杰涛明超兰霞平刚桂英华玉萍红娥玲芬燕彬斌鹏浩凯健俊帆辉峰建国志文海"


def credit_codes(prefix: Ints, division: Ints, serial: Ints) -> np.ndarray[Any, np.dtype[np.bytes_]]:
    """Valid 18-character codes of GB 32100-2015.

    Args:
        prefix: shape (n,), 91 enterprise, 92 individual business, ….
        division: shape (n,), GB/T 2260 codes.
        serial: shape (n,), unique numbers below 31⁶; they make the organisation code (GB 11714, starting with MA).

    Returns:
        Shape (n,), dtype S18.
    """
    n = len(serial)
    digits = np.empty((n, 18), dtype=np.int64)
    digits[:, 0], digits[:, 1] = prefix // 10, prefix % 10
    for i in range(6):
        digits[:, 2 + i] = division // 10 ** (5 - i) % 10
    digits[:, 8], digits[:, 9] = ALPHABET.index("M"), ALPHABET.index("A")
    for i in range(6):
        digits[:, 10 + i] = serial // 31 ** (5 - i) % 31
    digits[:, 16] = _ORG_CHECK[(11 - _ORG_VALUE[digits[:, 8:16]] @ _ORG_WEIGHTS % 11) % 11]
    digits[:, 17] = (31 - digits[:, :17] @ _WEIGHTS % 31) % 31
    return np.ascontiguousarray(_BYTES[digits]).view("S18").ravel()


def names(place: list[str], noun: list[str], company: list[bool], picks: Ints) -> list[str]:
    """Enterprise names; `picks`, shape (n, 2), chooses the two characters of the brand."""
    first, second = len(_FIRST), len(_SECOND)
    return [
        f"{p}{_FIRST[a % first]}{_SECOND[b % second]}{q}{'有限公司' if c else '店' if q != '经营部' else ''}"
        for p, q, c, (a, b) in zip(place, noun, company, picks.tolist(), strict=True)
    ]


def persons(picks: Ints) -> list[str]:
    """Names of contacts; `picks` has shape (n, 2)."""
    return [f"{_SURNAMES[a % len(_SURNAMES)]}{_GIVEN[b % len(_GIVEN)]}" for a, b in picks.tolist()]
