"""The kit as a test function."""

from __future__ import annotations

from collections.abc import Callable

from dianhuan_sdk.testing._kit import Scenario, check_plugin


def conformance(plugin: str, scenario: Scenario | None = None) -> Callable[[], None]:
    """A test that runs all checks and fails with the list of those that do not hold.

    Args:
        plugin: name of the plugin's entry point.
        scenario: what to try it on; exemptions stand there, each with its reason.
    """

    def test() -> None:
        report = check_plugin(plugin, scenario)
        lines = [f"{r.check} [{r.subject}]: {r.words}" for r in report.failed]
        assert not lines, f"{plugin} does not conform:\n" + "\n".join(lines)

    return test
