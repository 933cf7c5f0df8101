"""The 340 cities by GB/T 2260: 333 prefectures, 4 municipalities, and 3 of the cities that a province runs itself."""

from __future__ import annotations

from dianhuan_standards.identifiers import divisions

_DIRECT = ("419001", "429004", "659001")
"""济源, 仙桃, 石河子: divisions below a province without a prefecture between; there are 32, three are taken."""

CITIES: tuple[str, ...] = tuple(
    sorted(
        [
            *(code for code in divisions() if code[4:] == "00" and code[2:4] != "00"),
            *("110000", "120000", "310000", "500000"),
            *_DIRECT,
        ]
    )
)

PROVINCES: tuple[str, ...] = tuple(sorted({code[:2] for code in CITIES}))
