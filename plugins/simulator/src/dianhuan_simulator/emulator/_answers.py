"""How plants answer a notice: honestly, late, falsely, or not at all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dianhuan_simulator._random import Purpose, stream
from dianhuan_simulator.emulator._knobs import AnswerKnobs
from dianhuan_simulator.emulator._stories import Story

_HONEST_KIND = {
    "maintenance_filed": "filed_report",
    "maintenance_filed_late": "filed_report",
    "maintenance_unfiled": "filed_report",
    "stoppage": "filed_report",
    "dead_ct": "fault",
    "meter_swap": "fault",
    "ct_ratio_change": "fault",
    "trip": "fault",
    "comm_loss": "fault",
    "comm_loss_backfilled": "fault",
}


class Answer(NamedTuple):
    """What a plant answers.

    Args:
        kind: `filed_report`, `fault`, `explanation`, or `none` where it stays silent.
        at: minute of the answer, -1 where there is none.
        honest: is it true? Part of the truth, never shown to a model.
        words: what it says.
    """

    kind: str
    at: int
    honest: bool
    words: str


def answer(knobs: AnswerKnobs, seed: int, plant: int, at: int, causes: list[Story], offender: bool) -> Answer:
    """The answer of a plant to a notice at a minute; the same for the same arguments.

    Args:
        knobs: shares and delays.
        seed: of the run.
        plant: number of the plant.
        at: minute of the notice.
        causes: its stories that the notice may be about.
        offender: does it offend about now?
    """
    rng = stream(seed, Purpose.ANSWER, plant, at)
    draw, delay, late, which = rng.random(4)
    low, high = np.log(knobs.honest.within)
    minute = at + round(float(np.exp(low + delay * (high - low))))
    if late < knobs.late:
        minute = at + round(float(knobs.honest.within[1] + delay * (1440 - knobs.honest.within[1])))
    if offender:
        if draw < knobs.offender.silent:
            return Answer("none", -1, True, "")
        if draw < knobs.offender.silent + knobs.offender.lies:
            kind = ("filed_report", "fault", "explanation")[int(which * 3)]
            words = {"filed_report": "检修 / maintenance", "fault": "仪表故障 / meter fault"}.get(
                kind, "未生产 / no production"
            )
            return Answer(kind, minute, False, words)
        return Answer("explanation", minute, True, "治理设施停运 / treatment was off")
    if draw >= knobs.honest.answers:
        return Answer("none", -1, True, "")
    kinds = [(_HONEST_KIND.get(s.kind, "explanation"), s.kind) for s in causes]
    kind, words = kinds[0] if kinds else ("explanation", "正常运行 / running as usual")
    return Answer(kind, minute, True, words)
