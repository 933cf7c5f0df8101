"""The real-time tier: every minute from readings to findings, notices to plants and live warnings."""

from dianhuan_hub.realtime._feed import Feed
from dianhuan_hub.realtime._links import LinkDesk
from dianhuan_hub.realtime._notices import ANSWERS, REPORT_KINDS, NoticeDesk, NoticeError, PlantAnswer
from dianhuan_hub.realtime._realtime import Realtime, RealtimeThread, build_realtime, courier_running
from dianhuan_hub.realtime._runner import Runner, TickReport

__all__ = [
    "ANSWERS",
    "REPORT_KINDS",
    "Feed",
    "LinkDesk",
    "NoticeDesk",
    "NoticeError",
    "PlantAnswer",
    "Realtime",
    "RealtimeThread",
    "Runner",
    "TickReport",
    "build_realtime",
    "courier_running",
]
