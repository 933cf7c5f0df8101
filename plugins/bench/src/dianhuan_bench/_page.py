"""The report as one HTML file: no script, no request leaves the machine."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

_STYLE = """
body{font:14px/1.5 system-ui,'Noto Sans CJK SC',sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:.8em 0;font-variant-numeric:tabular-nums}
th,td{border:1px solid #ccc;padding:.25em .6em;text-align:right}th:first-child,td:first-child{text-align:left}
th{background:#f3f4f6}tr.model td:first-child{font-weight:600}.bad{color:#fff;background:#b91c1c;padding:.5em .8em}
td.bad{padding:.25em .6em}.good{color:#166534}.unclear{color:#92400e}
small,figcaption{color:#555}svg text{font-size:12px}
"""
_STATES = {"exceeded": "超出 / exceeded", "held": "守住 / held", "unclear": "样本不足 / unclear"}


def page(report: Mapping[str, Any]) -> str:
    """The report of `_report.report` as HTML, labels in Chinese and English."""
    parts = [
        "<!doctype html><html lang=zh-CN><meta charset=utf-8><title>模型评测 / model bench</title>",
        f"<style>{_STYLE}</style><h1>模型评测 / Model bench</h1>",
        _facts(report["machine"] | {"models": ", ".join(f"{m}@{v}" for m, v in report["models"].items())}),
    ]
    parts += [f"<p class=bad>告警预算超出 / alarm budget exceeded: {_e(line)}</p>" for line in report["exceeded"]]
    parts += [
        f"<p><small>未运行 / not run: {_e(tier)}: {_e(why)}</small></p>" for tier, why in report["skipped"].items()
    ]
    for city in report["T2"]:
        parts.append(_city(city))
    if report.get("T1"):
        parts.append(_measured(report["T1"]))
    parts.append(f"<p><small>再生成 / made again by: <code>{_e(report['command'])}</code></small></p></html>")
    return "\n".join(parts)


def _city(city: Mapping[str, Any]) -> str:
    gates = "经中心闸口 / after the hub's gates" if city["gates"] == "hub" else "未经闸口 / before the gates"
    head = (
        f"<h2>T2 · {_e(city['province'])} · 基础率 / base rate {city['base_rate']:.2%}</h2>"
        f"<p>{city['entities']:,} 户 / enterprises, {city['violators']} 违规 / violators, 种子 / seed {city['seed']}, "
        f"清单日 / day {city['day']}, {gates}. 区间 / intervals: 95 %, 1,000 bootstrap draws over "
        "enterprises; P@k: the wider of these and of Clopper–Pearson; @ = 实际条数 / lines that there are.</p>"
    )
    names = ("P@65", "P@130", "R-precision", "MAP@200")
    rows = []
    for name, row in city["rows"].items():
        cells = [_interval(row.get(n)) for n in names]
        more = [row.get("PR-AUC", "–"), row.get("lift@65", "–"), row["listed"], row["found"]]
        rows.append((row["role"], [name, *cells, *map(str, more)]))
    heads = ["清单 / list", *names, "PR-AUC", "lift@65", "列出 / listed", "命中 / found"]
    models = [n for n, r in city["rows"].items() if r["role"] == "model"]
    confounders = [
        ("", [c["kind"], str(c["enterprises"]), *(str(c["warned"].get(m, 0)) for m in models)])
        for c in city["confounders"]
    ]
    left = "; ".join(f"{k}: {v}" for k, v in (city["left_out"] | city["failed"]).items())
    return (
        head
        + bars(city["rows"], "P@65")
        + _table(heads, rows)
        + "<h3>告警预算 / alarm budgets</h3>"
        + _budgets(city["budgets"])
        + "<h3>易混情形 / innocent look-alikes warned of</h3>"
        + _table(["情形 / kind", "户数 / enterprises", *models], confounders)
        + f"<p><small>未列入 / left out: {_e(left) or '–'}; 秒 / seconds: {_e(str(city['seconds']))}</small></p>"
    )


def _budgets(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        f"<tr><td>{_e(b['model'])}</td><td>{b['budget']:g}</td><td>{b['false_alarms']}/{b['enterprises']}</td>"
        f"<td>{b['per_enterprise_month']:.6f} ({b['low']:.6f}–{b['high']:.6f})</td>"
        f"<td class={'bad' if b['state'] == 'exceeded' else 'good' if b['state'] == 'held' else 'unclear'}>"
        f"{_STATES[b['state']]}</td></tr>"
        for b in rows
    ]
    return (
        "<table><tr><th>模型 / model<th>预算 / budget<th>误报 / false alarms"
        "<th>每户每月 / per enterprise-month<th></tr>" + "".join(lines) + "</table>"
    )


def _measured(t1: Mapping[str, Any]) -> str:
    head = (
        f"<h2>T1 · 实测曲线 / measured curves</h2><p>{t1['sites']} 条 / sites, {t1['days']} 天 / days, "
        f"种子 / seed {t1['seed']}. 无基础率 / no base rate; Clopper–Pearson 95 %.</p>"
    )
    rows = [
        (
            "model" if r["model"] == "any model" else "",
            [f"{r['recipe']} · {r['model']}", *(_rate(r[g]) for g in ("violation", "twin", "clean"))],
        )
        for r in t1["rows"]
    ]
    heads = ["手法 · 模型 / recipe · model", "检出 / detected", "孪生误报 / twins warned", "原样误报 / clean warned"]
    return head + heat(t1["rows"]) + _table(heads, rows)


def bars(rows: Mapping[str, Mapping[str, Any]], figure: str) -> str:
    """A bar for each list with its interval, as inline SVG."""
    shown = [(n, r[figure], r["role"]) for n, r in rows.items() if isinstance(r.get(figure), Mapping)]
    out = [f'<svg width="760" height="{26 * len(shown) + 20}" role="img" aria-label="{_e(figure)}">']
    for i, (name, value, role) in enumerate(shown):
        y, colour = 26 * i + 4, "#1d4ed8" if role == "model" else "#9ca3af"
        x = [200 + 500 * value[k] for k in ("value", "low", "high")]
        out.append(
            f'<text x="192" y="{y + 14}" text-anchor="end">{_e(name)}</text>'
            f'<rect x="200" y="{y}" width="{x[0] - 200:.1f}" height="18" fill="{colour}"/>'
            f'<line x1="{x[1]:.1f}" x2="{x[2]:.1f}" y1="{y + 9}" y2="{y + 9}" stroke="#111" stroke-width="2"/>'
            f'<text x="{x[2] + 6:.1f}" y="{y + 14}">{value["value"]:.2f}</text>'
        )
    return f"<figure>{''.join(out)}</svg><figcaption>{_e(figure)}</figcaption></figure>"


def heat(rows: Sequence[Mapping[str, Any]]) -> str:
    """Detection less twin alarms by recipe and model, as inline SVG."""
    models, recipes = (list(dict.fromkeys(r[k] for r in rows)) for k in ("model", "recipe"))
    out = [f'<svg width="{190 + 52 * len(recipes)}" height="{30 * len(models) + 30}" role="img" aria-label="T1">']
    out += [f'<text x="{214 + 52 * i}" y="16" text-anchor="middle">{_e(r)}</text>' for i, r in enumerate(recipes)]
    for row in rows:
        x, y = 190 + 52 * recipes.index(row["recipe"]), 24 + 30 * models.index(row["model"])
        share, wrong = (row[g]["warned"] / row[g]["sites"] for g in ("violation", "twin"))
        out.append(
            f'<rect x="{x}" y="{y}" width="48" height="26" fill="#1d4ed8" fill-opacity="{0.08 + 0.6 * share:.2f}"/>'
            f'<text x="{x + 24}" y="{y + 17}" text-anchor="middle">{share:.0%}·{wrong:.0%}</text>'
        )
    out += [f'<text x="184" y="{42 + 30 * i}" text-anchor="end">{_e(m)}</text>' for i, m in enumerate(models)]
    words = "检出率 · 孪生误报率 / detected · twins warned"
    return f"<figure>{''.join(out)}</svg><figcaption>{words}</figcaption></figure>"


def _facts(facts: Mapping[str, Any]) -> str:
    return "<p>" + " · ".join(f"{_e(str(k))}: {_e(str(v))}" for k, v in facts.items()) + "</p>"


def _table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    top = "".join(f"<th>{_e(h)}" for h in heads)
    body = "".join(f"<tr class='{role}'>" + "".join(f"<td>{_e(c)}" for c in cells) + "</tr>" for role, cells in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _interval(value: Mapping[str, float] | None) -> str:
    if value is None:
        return "–"
    at = f" @{value['k']:g}" if "k" in value else ""
    return f"{value['value']:.3f}{at} ({value['low']:.2f}–{value['high']:.2f})"


def _rate(group: Mapping[str, Any]) -> str:
    share = group["warned"] / group["sites"]
    return f"{share:.0%} ({group['warned']}/{group['sites']}, {group['low']:.0%}–{group['high']:.0%})"


def _e(text: str) -> str:
    return html.escape(text)
