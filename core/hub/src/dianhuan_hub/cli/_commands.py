"""Every command of the hub in one place: name → (where it is, help line). The module is imported when it runs.

The place names a `typer.Typer` (a group of commands) or a function with typer's annotations (one command).
"""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("dianhuan_hub.cli.init:command", "新建城市节点 · set up a city hub in a folder"),
    "plugin": ("dianhuan_hub.cli.plugin:app", "插件：列表、检查、启停 · list, inspect, check, enable, disable plugins"),
    "standards": ("dianhuan_hub.cli.standards:app", "数据标准：表、字段、校验 · standard tables, fields, validation"),
    "doctor": (
        "dianhuan_hub.cli.doctor:command",
        "体检：环境、配置、插件、磁盘、端口 · say what is wrong and what to do",
    ),
}
