"""Drawing evidence: in the terminal, and as PNG or SVG."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from dianhuan_hub.store import FloatArray
from dianhuan_sdk import ConfigError

_CJK = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei")
_BLOCKS = " ▁▂▃▄▅▆▇█"

Exhibit = dict[str, Any] | None


def _needed(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"drawing a picture needs {module.partition('.')[0]}", hint="pip install 'dianhuan-hub[plot]'"
        ) from error


def draw_terminal(days: Sequence[date], kw: FloatArray, exhibit: Exhibit) -> None:
    """The mean day of the exhibit beside the mean of the other days, as block characters: 48 half hours."""
    shown = _shown_days(days, exhibit)
    top = np.nanmax(kw) if not np.isnan(kw).all() else np.nan
    if not top > 0:
        print("  无曲线可画 no curve to draw")
        return
    print()
    for label, rows in (("所据日 days shown", kw[shown]), ("其余日 other days", kw[~shown])):
        if len(rows) and not np.isnan(rows).all():
            half_hours = _mean(_mean(rows, 0).reshape(48, 2), 1)
            print(f"  {_bar(half_hours, float(top))}  {label} ({len(rows)})")
    print("  0     3     6     9     12    15    18    21    24 时 h" + f"   最大 max {top:,.1f} kW")


def _bar(values: FloatArray, top: float) -> str:
    if np.isnan(values).all():
        return "·" * len(values)
    steps = np.clip(np.round(np.nan_to_num(values) / top * 8), 0, 8).astype(int)
    return "".join("·" if np.isnan(v) else _BLOCKS[s] for v, s in zip(values, steps, strict=True))


def draw_picture(
    out: Path, title: str, days: Sequence[date], kw: FloatArray, exhibit: Exhibit, findings: Sequence[dict[str, Any]]
) -> None:
    """Load by day and hour as a map, and the mean day of the exhibit beside the other days.

    Args:
        out: `.png` or `.svg`.
        title: stands above.
        days: shape (days,).
        kw: shape (days, 96), NaN = missing.
        exhibit: days and slots to mark, or None.
        findings: their words stand below.

    Raises:
        ConfigError: matplotlib is not installed, or the file has another ending.
    """
    if out.suffix.lower() not in (".png", ".svg"):
        raise ConfigError(f"picture {out}", expected="a file ending in .png or .svg")
    matplotlib = _needed("matplotlib")
    matplotlib.use("agg")
    figure_module = _needed("matplotlib.figure")
    fonts = {f.name for f in _needed("matplotlib.font_manager").fontManager.ttflist}
    cjk = next((f for f in _CJK if f in fonts), None)
    chinese = cjk is not None

    def words(zh: str, en: str) -> str:
        return f"{zh} {en}" if chinese else en

    with matplotlib.rc_context({"font.family": [cjk, "DejaVu Sans"] if cjk else ["DejaVu Sans"]}):
        figure = figure_module.Figure(figsize=(10, 7.5), layout="constrained")
        upper, lower = figure.subplots(2, 1, height_ratios=[3, 2])
        image = upper.imshow(kw, aspect="auto", interpolation="nearest", extent=(0, 24, len(days), 0), cmap="viridis")
        upper.set_yticks(np.arange(len(days)) + 0.5, [f"{d:%m-%d}" for d in days], fontsize=6)
        upper.set_title(title)
        figure.colorbar(image, ax=upper, label="kW")
        shown = _shown_days(days, exhibit)
        hours = np.arange(96) / 4
        for rows, label, colour in (
            (kw[shown], words("所据日均值", "mean of the days shown"), "tab:red"),
            (kw[~shown], words("其余日均值", "mean of the other days"), "tab:grey"),
        ):
            if len(rows) and not np.isnan(rows).all():
                lower.step(hours, _mean(rows, 0), where="post", label=label, color=colour)
        if exhibit:
            first, last = exhibit["slots"]
            for a, b in [(first, last)] if first < last else [(first, 96), (0, last)]:
                lower.axvspan(a / 4, b / 4, alpha=0.12, color="tab:red")
        for row in np.flatnonzero(shown):
            upper.plot([-0.3], [row + 0.5], marker=">", color="tab:red", clip_on=False, markersize=4)
        for axis in (upper, lower):
            axis.set_xlim(0, 24)
            axis.set_xticks(range(0, 25, 3))
        lower.set_xlabel(words("时", "hour of the day"))
        lower.set_ylabel("kW")
        lower.legend(fontsize=8)
        said = [t["zh"] if chinese else t["en"] for f in findings for t in f["reasons"]]
        figure.supxlabel("\n".join(said[:4]), fontsize=8, ha="left", x=0.01)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=120)


def _shown_days(days: Sequence[date], exhibit: Exhibit) -> np.ndarray[Any, np.dtype[np.bool_]]:
    marked = set(exhibit["days"]) if exhibit else {days[-1].isoformat()}
    return np.array([d.isoformat() in marked for d in days])


def _mean(values: FloatArray, axis: int) -> FloatArray:
    present = ~np.isnan(values)
    count = present.sum(axis=axis)
    total = np.where(present, values, 0).sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), np.float32)
