"""A backup of a store in use is whole, checked, and comes back as it was."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from dianhuan_hub.store import StoreError, backup, restore

DAY = date(2026, 3, 5)
AT = datetime(2026, 3, 6, tzinfo=UTC)


def test_backup_while_open_and_restore(city, curve_rows, put, reopen, tmp_path):
    put(city, curve_rows(DAY, {0: 1.0, 1: 2.0}))
    put(city, curve_rows(date(2026, 3, 4), {0: 1.5, 1: 2.5}))
    city.cold.seal(date(2026, 3, 4))
    manifest = backup(city.engine, city.data, tmp_path / "copy", AT)
    put(city, curve_rows(date(2026, 3, 6), {0: 9.0, 1: 9.0}))  # goes on while the copy exists
    assert len(manifest["files"]) == 2
    assert restore(tmp_path / "copy", tmp_path / "back") == 2
    again = reopen(tmp_path / "back")
    for day, kw in ((DAY, 3.0), (date(2026, 3, 4), 4.0)):
        assert (again.entity_curves("E1", day, day)[1] == kw).all()
    assert np.isnan(again.entity_curves("E1", date(2026, 3, 6), date(2026, 3, 6))[1]).all()
    again.close()


def test_changed_or_partial_backup_is_refused_and_writes_nothing(city, curve_rows, put, tmp_path):
    put(city, curve_rows(DAY, {0: 1.0}))
    copy = tmp_path / "copy"
    backup(city.engine, city.data, copy, AT)
    file = copy / "hub.duckdb"
    raw = bytearray(file.read_bytes())
    raw[5000] ^= 1
    file.write_bytes(raw)
    with pytest.raises(StoreError, match="missing or changed"):
        restore(copy, tmp_path / "back")
    file.unlink()
    with pytest.raises(StoreError, match="missing or changed"):
        restore(copy, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_neither_overwrites_what_is_there(city, tmp_path):
    with pytest.raises(StoreError, match="not empty"):
        backup(city.engine, city.data, city.data, AT)
    backup(city.engine, city.data, tmp_path / "copy", AT)
    with pytest.raises(StoreError, match="not empty"):
        restore(tmp_path / "copy", city.data)
    with pytest.raises(StoreError, match="is no backup"):
        restore(tmp_path, tmp_path / "new")
