"""Identifiers: real codes, computed check digits, single errors, and the shipped lists."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dianhuan_standards.identifiers import (
    CHECKS,
    division_name,
    divisions,
    facility_kind,
    industries,
    industry_code,
    industry_path,
    uscc_check_digit,
    uscc_problem,
    valid_usccs,
)

ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
REAL = ("91110000802100433B", "9144030071526726XG", "91430000183764483Y")
prefixes = st.builds(
    lambda head, division, tail: head + division + tail,
    st.text(ALPHABET, min_size=2, max_size=2),
    st.text("0123456789", min_size=6, max_size=6),
    st.text(ALPHABET, min_size=9, max_size=9),
)


@pytest.mark.parametrize("code", REAL)
def test_real_credit_codes(code: str) -> None:
    assert uscc_check_digit(code[:17]) == code[17]
    assert uscc_problem(code) is None


@given(prefixes)
def test_a_computed_check_digit_validates(prefix: str) -> None:
    assert uscc_problem(prefix + uscc_check_digit(prefix)) is None


@given(prefixes, st.integers(0, 17), st.characters(max_codepoint=0x9FFF))
def test_any_single_changed_character_fails(prefix: str, place: int, other: str) -> None:
    code = prefix + uscc_check_digit(prefix)
    changed = code[:place] + other + code[place + 1 :]
    assert (uscc_problem(changed) is None) == (changed == code)


@given(prefixes, st.integers(0, 17), st.sampled_from(ALPHABET))
def test_any_other_character_of_the_alphabet_fails_too(prefix: str, place: int, other: str) -> None:
    code = prefix + uscc_check_digit(prefix)
    changed = code[:place] + other + code[place + 1 :]
    assert (uscc_problem(changed) is None) == (changed == code)


@given(st.lists(st.one_of(st.none(), st.sampled_from(REAL), st.text(ALPHABET, min_size=17, max_size=19), st.text())))
def test_arrays_agree_with_single_values(values: list[str | None]) -> None:
    expected = [value is not None and uscc_problem(value) is None for value in values]
    arrow = pa.array(values, pa.string())
    chunked = pa.chunked_array([arrow[:1], arrow[1:]], pa.string())
    for given_form in (values, arrow, chunked, np.array(values, dtype=object)):
        assert valid_usccs(given_form).tolist() == expected


def test_a_slice_of_an_array_is_read_at_its_offset() -> None:
    arrow = pa.array(["x", REAL[0], REAL[1][:-1] + "0", None, REAL[2]])
    assert valid_usccs(arrow[1:]).tolist() == [True, False, False, True]


def test_a_prefix_of_the_wrong_form_has_no_check_digit() -> None:
    with pytest.raises(ValueError, match="17 characters"):
        uscc_check_digit("9143000018376448")
    with pytest.raises(ValueError, match="17 characters"):
        uscc_check_digit("9143000018376448O")


def test_divisions_of_zhuzhou_and_next_door() -> None:
    names = {code: name for code, name in divisions().items() if code.startswith("4302")}
    assert names == {
        "430200": "株洲市",
        "430202": "荷塘区",
        "430203": "芦淞区",
        "430204": "石峰区",
        "430211": "天元区",
        "430212": "渌口区",
        "430223": "攸县",
        "430224": "茶陵县",
        "430225": "炎陵县",
        "430281": "醴陵市",
    }
    assert division_name("430212") == "湖南省株洲市渌口区"
    assert division_name("360300") == "江西省萍乡市"
    assert division_name("110105") == "北京市朝阳区"
    assert division_name("430221") is None


def test_the_list_of_divisions_is_whole() -> None:
    codes = list(divisions())
    assert len(codes) == len(set(codes)) == 3212
    provinces = [code for code in codes if code.endswith("0000")]
    assert len(provinces) == 34
    assert sum(code.endswith("00") for code in codes) - len(provinces) == 333
    assert all(code[:2] + "0000" in divisions() for code in codes)
    assert len([c for c in codes if c.startswith("43") and not c.endswith("00")]) == 122
    assert len([c for c in codes if c.startswith("36") and not c.endswith("00")]) == 100


def test_industries_have_the_counts_of_the_2017_edition() -> None:
    assert Counter(map(len, industries())) == {1: 20, 3: 97, 4: 473, 5: 1381}
    for code in industries():
        parent = {1: code, 3: code[0]}.get(len(code), code[:-1])
        assert parent in industries()


def test_industries_by_code() -> None:
    assert industry_path("A0111") == ("农、林、牧、渔业", "农业", "谷物种植", "稻谷种植")
    assert industry_path("C30") == ("制造业", "非金属矿物制品业")
    assert industry_path("C") == ("制造业",)
    assert industry_path("C9999") == ()
    assert industries()["C3011"] == "水泥制造"
    assert industry_code("3011") == "C3011"
    assert industry_code("462") == "D462"
    assert industry_code("9999") is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("MF0001", "production"),
        ("TA001", "air_treatment"),
        ("TW001", "water_treatment"),
        ("DA001", "air_outlet"),
        ("DW001", "water_outlet"),
        ("MF001", None),
        ("TA0001", None),
        ("ta001", None),
        ("", None),
    ],
)
def test_facility_codes(code: str, kind: str | None) -> None:
    assert facility_kind(code) == kind


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("permit_no", "91430000183764483Y001P", None),
        ("permit_no", "91430000183764483X001P", "bad_check_digit"),
        ("permit_no", "91430000183764483Y01P", "bad_form"),
        ("division", "430212", None),
        ("division", "430221", "unknown_code"),
        ("division", "990000", "bad_form"),
        ("industry", "C3011", None),
        ("industry", "C3999", "unknown_code"),
        ("industry", "3011", "bad_form"),
        ("facility", "TA001", None),
        ("facility", "TB001", "bad_form"),
        ("uscc", "91430000183764483Y ", "bad_form"),
        ("uscc", "９1430000183764483Y", "bad_form"),
    ],
)
def test_checks_name_the_problem(kind: str, value: str, problem: str | None) -> None:
    assert CHECKS[kind](value) == problem
