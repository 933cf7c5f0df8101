"""Every command of the hub in one place: name → (where it is, help line). The module is imported when it runs.

The place names a `typer.Typer` (a group of commands) or a function with typer's annotations (one command).
"""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("dianhuan_hub.cli.init:command", "新建城市节点 · set up a city hub in a folder"),
    "ingest": ("dianhuan_hub.cli.ingest:command", "读入文件或来源 · read files or sources into the store"),
    "backfill": ("dianhuan_hub.cli.ingest:backfill", "补读一段日期 · read a window of days beside the live cursor"),
    "night": ("dianhuan_hub.cli.night:command", "夜间作业:读入、筛查、归档 · the whole night: read, screen, seal"),
    "screen": ("dianhuan_hub.cli.screen:command", "全城筛查 · screen the whole city"),
    "list": ("dianhuan_hub.cli.screen:todays", "今日清单 · today's list"),
    "explain": ("dianhuan_hub.cli.explain:command", "案件证据与图 · the evidence of a case, drawn"),
    "case": ("dianhuan_hub.cli.case:app", "案件:查看、流转、结果 · cases: look, move, record outcomes"),
    "quarantine": ("dianhuan_hub.cli.quarantine:app", "隔离区:被拒的行及原因 · refused rows and why"),
    "replay": ("dianhuan_hub.cli.quarantine:replay_load", "重放一个批次的原始文件 · read a load's raw file again"),
    "gateway": ("dianhuan_hub.cli.gateway:app", "设备接入:审批、状态、重读 · devices: approve, status, replay"),
    "link": ("dianhuan_hub.cli.link:app", "回路:角色与产治关系 · circuits: roles, links of treatment and production"),
    "realtime": ("dianhuan_hub.cli.realtime:app", "实时监测:状态、通知 · real-time tier: status, notices"),
    "backup": ("dianhuan_hub.cli.backup:command", "备份 · consistent copy of the data"),
    "restore": ("dianhuan_hub.cli.backup:restore", "恢复 · put a backup in place"),
    "demo": ("dianhuan_hub.cli.demo:command", "演示:真值已知的一夜 · a city's night with known truth"),
    "serve": ("dianhuan_hub.cli.serve:command", "启动查询接口 · serve GraphQL, Arrow, health and metrics"),
    "plugin": ("dianhuan_hub.cli.plugin:app", "插件：列表、检查、启停 · list, inspect, check, enable, disable plugins"),
    "standards": ("dianhuan_hub.cli.standards:app", "数据标准：表、字段、校验 · standard tables, fields, validation"),
    "doctor": (
        "dianhuan_hub.cli.doctor:command",
        "体检：环境、配置、插件、磁盘、端口 · say what is wrong and what to do",
    ),
}
