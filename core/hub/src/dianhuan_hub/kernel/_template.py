"""The commented `hub.toml` that `dianhuan init` writes."""

from __future__ import annotations

import json

_TEMPLATE = """\
# 电环城市节点配置 · configuration of a Dianhuan city hub
# 环境变量可覆盖任何一项，例如 DIANHUAN_CITY__NAME · any key can be set by a variable like DIANHUAN_CITY__NAME

# 数据目录，相对本文件 · data folder, relative to this file
data_dir = "data"

[city]
# 城市名称 · name of the city
name = {name}
# 行政区划代码 GB/T 2260，决定分时电价 · six digits of GB/T 2260; decides the tariff periods
division = {division}

[api]
# 监听地址和端口 · where the hub listens
host = "127.0.0.1"
port = 8400

[store]
# 数据库内存与线程 · memory and threads of the database
memory_limit = "1GB"
threads = 2
# 热数据天数；原始文件保留天数（供重放） · days kept hot; days that raw files are kept for replay
hot_days = 90
raw_days = 90
# 每夜备份到此目录下的日期子目录 · every night leaves a backup in a folder of its date below this one
# backup_to = "/backup/dianhuan"

[screening]
# 每日可核查户数；随机抽查比例 · visits the officers can make in a day; share drawn at random
capacity = 130
random_share = 0.1
# `dianhuan serve` 每日此时运行夜间作业（读入、筛查），空为不运行 · when `dianhuan serve` runs the night; empty: never
at = ""

# 数据源，每个一节；可用适配器见 `dianhuan plugin list`
# sources, one table each; the adapters are shown by `dianhuan plugin list`
#
# [sources.grid]
# adapter = "grid_generic"
# streams = "all"
# [sources.grid.config]
# # 适配器自己的设置；口令写作 {{ ref = "env:NAME" }} 或 {{ ref = "file:PATH" }}
# # settings of the adapter; a password is written {{ ref = "env:NAME" }} or {{ ref = "file:PATH" }}

# 设备接入，每个端口一节 · devices: one table for each port, line or broker
#
# [gateway.listeners.loggers]
# protocol = "hj212"
# port = 9212
# [gateway.polls.meters]
# protocol = "modbus"           # modbus | dlt645
# host = "10.0.0.7"
# port = 502
# [gateway.brokers.site]
# host = "127.0.0.1"
# password = "env:MQTT_PASSWORD"

# 通知企业：经此地址转发（短信、微信等），附一次性答复链接 · notices to plants go out by this webhook
#
# [notices]
# url = "https://sms.example.cn/notices"
# secret = "env:NOTICE_KEY"          # 签名密钥 · signs each notice (HMAC-SHA256)
# public_url = "https://hub.example.cn"

[plugins]
# 不启动的插件 · plugins that do not start
disabled = []
# [plugins.PLUGIN.MODEL]
# 模型参数 · parameters of a model

# 服务密钥（只存 SHA-256）；未授权即拒绝 · service keys (SHA-256 only); what is not granted is denied
#
# [keys.bureau]
# sha256 = "…"
# role = "analyst"            # viewer | analyst | dispatcher | officer | agency | admin
# divisions = [{scope}]
# purpose = "执法 · enforcement"
"""


def render(name: str, division: str) -> str:
    """The text of a new `hub.toml`."""
    scope = division
    while scope.endswith("00"):
        scope = scope[:-2]
    return _TEMPLATE.format(name=_quoted(name), division=_quoted(division), scope=_quoted(scope))


def _quoted(text: str) -> str:
    # a JSON string is a TOML basic string, except for DEL, which TOML wants escaped
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
