"""Tables of the DuckDB file. Standard tables follow their contracts; the rest is the hub's own book-keeping."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from dianhuan_sdk import FEATURES, FEATURES_VERSION, ConfigError, PluginError, TableContract
from dianhuan_standards import REGISTERS, TABLES

SCHEMA_VERSION = 3

RESULT_TABLES: tuple[str, ...] = ("finding", "warning", "case", "outcome", "model_card")
"""Standard tables that the hub itself fills."""

_OWN = """
CREATE TABLE meta (key VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
CREATE SEQUENCE load_ids;
CREATE TABLE load (
    load_id INTEGER NOT NULL, plugin VARCHAR NOT NULL, plugin_version VARCHAR NOT NULL, stream VARCHAR NOT NULL,
    source VARCHAR NOT NULL, sha256 VARCHAR NOT NULL, raw_ref VARCHAR NOT NULL, started_at TIMESTAMPTZ NOT NULL,
    committed_at TIMESTAMPTZ NOT NULL, accepted BIGINT NOT NULL, quarantined BIGINT NOT NULL,
    unchanged BIGINT NOT NULL, corrected BIGINT NOT NULL, origin INTEGER);
CREATE TABLE cursor (
    source VARCHAR NOT NULL, stream VARCHAR NOT NULL, position VARCHAR NOT NULL, load_id INTEGER NOT NULL,
    moved_at TIMESTAMPTZ NOT NULL, PRIMARY KEY (source, stream));
CREATE TABLE entity_ordinal (ent INTEGER NOT NULL, entity_id VARCHAR NOT NULL);
CREATE TABLE point_ordinal (mp INTEGER NOT NULL, metering_point_id VARCHAR NOT NULL);
CREATE TABLE curve (
    day DATE NOT NULL, mp INTEGER NOT NULL, kw FLOAT[96] NOT NULL, missing BLOB, points UTINYINT NOT NULL,
    kwh DOUBLE, load_id INTEGER NOT NULL);
CREATE TABLE curve_history (
    day DATE NOT NULL, mp INTEGER NOT NULL, kw FLOAT[96] NOT NULL, missing BLOB, points UTINYINT NOT NULL,
    kwh DOUBLE, load_id INTEGER NOT NULL, replaced_by INTEGER NOT NULL);
CREATE TABLE register_history (
    table_name VARCHAR NOT NULL, row JSON NOT NULL, load_id INTEGER NOT NULL, replaced_by INTEGER NOT NULL);
CREATE SEQUENCE quarantine_ids;
CREATE TABLE quarantine (
    quarantine_id BIGINT NOT NULL DEFAULT nextval('quarantine_ids'), load_id INTEGER NOT NULL,
    table_name VARCHAR NOT NULL, row_no BIGINT, code VARCHAR NOT NULL, detail VARCHAR NOT NULL,
    payload VARCHAR NOT NULL, in_contract_form BOOLEAN NOT NULL, state VARCHAR NOT NULL DEFAULT 'open',
    replayed_by INTEGER);
CREATE TABLE cold_day (
    day DATE NOT NULL, file VARCHAR NOT NULL, rows BIGINT NOT NULL, bytes BIGINT NOT NULL, sha256 VARCHAR NOT NULL,
    sealed_at TIMESTAMPTZ NOT NULL);
CREATE TABLE run (
    run_id VARCHAR NOT NULL, day DATE NOT NULL, started_at TIMESTAMPTZ NOT NULL, seconds DOUBLE NOT NULL,
    entities BIGINT NOT NULL, models VARCHAR NOT NULL, config VARCHAR NOT NULL);
CREATE TABLE case_event (
    case_id VARCHAR NOT NULL, seq INTEGER NOT NULL, "at" TIMESTAMPTZ NOT NULL, actor VARCHAR NOT NULL,
    state VARCHAR NOT NULL, note VARCHAR NOT NULL);
CREATE TABLE audit (
    "at" TIMESTAMPTZ NOT NULL, actor VARCHAR NOT NULL, purpose VARCHAR NOT NULL, action VARCHAR NOT NULL,
    subject VARCHAR NOT NULL, detail VARCHAR NOT NULL);
CREATE TABLE plugin_state (
    plugin VARCHAR NOT NULL, key VARCHAR NOT NULL, value BLOB NOT NULL, PRIMARY KEY (plugin, key));
"""

_DEVICES = """
CREATE TABLE device (
    device_id VARCHAR PRIMARY KEY, protocol VARCHAR NOT NULL, address VARCHAR NOT NULL, state VARCHAR NOT NULL,
    peer VARCHAR NOT NULL, first_seen TIMESTAMPTZ NOT NULL, profile VARCHAR NOT NULL, key_refs VARCHAR NOT NULL,
    password_ref VARCHAR NOT NULL, options VARCHAR NOT NULL, line VARCHAR NOT NULL, entity_id VARCHAR,
    decided_at TIMESTAMPTZ, decided_by VARCHAR, note VARCHAR NOT NULL);
CREATE TABLE held_frame (
    device_id VARCHAR NOT NULL, place INTEGER NOT NULL, received_at TIMESTAMPTZ NOT NULL, raw BLOB NOT NULL);
CREATE TABLE channel_ordinal (ch INTEGER NOT NULL, channel_id VARCHAR NOT NULL);
CREATE TABLE reading (
    ch INTEGER NOT NULL, device_at TIMESTAMPTZ NOT NULL, "at" TIMESTAMPTZ NOT NULL, received_at TIMESTAMPTZ,
    value DOUBLE, text VARCHAR, quality VARCHAR, resent BOOLEAN, load_id INTEGER NOT NULL);
CREATE TABLE reading_latest (
    ch INTEGER PRIMARY KEY, device_at TIMESTAMPTZ NOT NULL, "at" TIMESTAMPTZ NOT NULL, value DOUBLE, text VARCHAR,
    quality VARCHAR);
CREATE SEQUENCE raw_frame_ids;
CREATE TABLE raw_frame (
    frame_id BIGINT NOT NULL DEFAULT nextval('raw_frame_ids'), device_id VARCHAR NOT NULL, protocol VARCHAR NOT NULL,
    received_at TIMESTAMPTZ NOT NULL, kind VARCHAR NOT NULL, state VARCHAR NOT NULL, raw BLOB NOT NULL,
    load_id INTEGER NOT NULL);
CREATE TABLE reading_day (
    day DATE NOT NULL, file VARCHAR NOT NULL, rows BIGINT NOT NULL, bytes BIGINT NOT NULL, sha256 VARCHAR NOT NULL,
    sealed_at TIMESTAMPTZ NOT NULL);
"""
"""Since version 2. `raw_frame.state`: read, part (of a message that was not whole yet), refused (by policy)."""


_LISTS = """
CREATE TABLE ranking (
    version VARCHAR PRIMARY KEY, made_at TIMESTAMPTZ NOT NULL, fusion VARCHAR NOT NULL, columns VARCHAR NOT NULL,
    state BLOB NOT NULL, visits INTEGER NOT NULL, trial VARCHAR NOT NULL);
CREATE TABLE list_day (
    day DATE PRIMARY KEY, published_at TIMESTAMPTZ NOT NULL, ranking VARCHAR NOT NULL, sha256 VARCHAR NOT NULL);
CREATE TABLE listed (
    day DATE NOT NULL, place INTEGER NOT NULL, arm VARCHAR NOT NULL, case_id VARCHAR NOT NULL,
    entity_id VARCHAR NOT NULL, propensity DOUBLE NOT NULL, probability DOUBLE NOT NULL, scores VARCHAR NOT NULL);
"""

_REALTIME = """
CREATE TABLE link (
    link_id VARCHAR NOT NULL, entity_id VARCHAR NOT NULL, treatment VARCHAR[] NOT NULL, production VARCHAR[] NOT NULL,
    factors VARCHAR[] NOT NULL, state VARCHAR NOT NULL, confidence DOUBLE, lag_minutes INTEGER,
    proposed_at TIMESTAMPTZ NOT NULL, proposed_by VARCHAR NOT NULL, decided_at TIMESTAMPTZ, decided_by VARCHAR,
    note VARCHAR NOT NULL, muted_until TIMESTAMPTZ, rearmed_at TIMESTAMPTZ);
CREATE TABLE stream_state (
    model_id VARCHAR NOT NULL, version VARCHAR NOT NULL, table_name VARCHAR NOT NULL, data BLOB NOT NULL);
CREATE SEQUENCE stream_event_ids;
CREATE TABLE stream_event (
    seq BIGINT NOT NULL DEFAULT nextval('stream_event_ids'), told_at TIMESTAMPTZ NOT NULL, event_id VARCHAR NOT NULL,
    change VARCHAR NOT NULL, level VARCHAR NOT NULL, verdict VARCHAR NOT NULL, model_id VARCHAR NOT NULL,
    rule VARCHAR NOT NULL, entity_id VARCHAR NOT NULL, link_id VARCHAR NOT NULL, day DATE NOT NULL,
    finding_id VARCHAR NOT NULL, warning_id VARCHAR, case_id VARCHAR, since TIMESTAMPTZ NOT NULL,
    "at" TIMESTAMPTZ NOT NULL, score DOUBLE NOT NULL, body VARCHAR NOT NULL);
CREATE TABLE notice (
    event_id VARCHAR NOT NULL, entity_id VARCHAR NOT NULL, facility VARCHAR NOT NULL, since TIMESTAMPTZ NOT NULL,
    opened_at TIMESTAMPTZ NOT NULL, body VARCHAR NOT NULL, token_sha256 VARCHAR NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL, delivered_at TIMESTAMPTZ, attempts INTEGER NOT NULL, due_at TIMESTAMPTZ,
    failure VARCHAR NOT NULL, answered_at TIMESTAMPTZ, answer VARCHAR, answer_text VARCHAR, report_id VARCHAR,
    accepted BOOLEAN, reviewed_by VARCHAR);
"""
"""Since version 3. `link.state`: proposed, confirmed, refused. `stream_event` only grows; `seq` is the id of
server-sent events. `notice.due_at`: when to try to deliver next, null = no more."""


def migrate(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables of a new file, or bring an older file up to date.

    Raises:
        ConfigError: a later version of the hub has written the file.
    """
    fresh = not con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'meta'").fetchall()
    if fresh:
        con.execute(_OWN)
        for name in (*REGISTERS, *RESULT_TABLES):
            con.execute(contract_ddl(TABLES[name]))
        con.execute("INSERT INTO meta VALUES ('schema_version', '1')")
        renew_features(con)
    version = int(con.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall()[0][0])
    if version < 2:
        con.execute(_DEVICES)
        con.execute(contract_ddl(TABLES["channel"]))
        con.execute(_LISTS)
        con.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    if version < 3:
        con.execute(_REALTIME)
        con.execute("UPDATE meta SET value = '3' WHERE key = 'schema_version'")
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"the database has schema version {version}",
            expected=f"at most {SCHEMA_VERSION}",
            hint="a later version of the hub wrote it: use that one, or restore a backup",
        )


def features_are_current(con: duckdb.DuckDBPyConnection) -> bool:
    """Were the kept features made by the present definition?"""
    rows = con.execute("SELECT value FROM meta WHERE key = 'features_version'").fetchall()
    return rows == [(str(FEATURES_VERSION),)]


def renew_features(con: duckdb.DuckDBPyConnection) -> None:
    """An empty feature table of the present definition."""
    con.execute("DROP TABLE IF EXISTS feature_day")
    con.execute(_feature_ddl())
    con.execute("INSERT OR REPLACE INTO meta VALUES ('features_version', ?)", [str(FEATURES_VERSION)])


def _feature_ddl() -> str:
    columns = ", ".join(f"{quoted(f.name)} FLOAT" for f in FEATURES)
    return (
        "CREATE TABLE feature_day (day DATE NOT NULL, ent INTEGER NOT NULL, linked USMALLINT NOT NULL, "
        f"present USMALLINT NOT NULL, {columns})"
    )


def own_table(con: duckdb.DuckDBPyConnection, contract: TableContract) -> None:
    """Make the table of a plugin, or add the columns that a later version of its contract has.

    Raises:
        PluginError: the stored table has another type for a column, or a new column is required.
    """
    stored = dict(
        con.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?", [contract.name]
        ).fetchall()
    )
    if not stored:
        con.execute(contract_ddl(contract))
        return
    for f in contract.fields:
        kind = sql_type(f.type)
        if f.name not in stored and not f.required:
            con.execute(f"ALTER TABLE {quoted(contract.name)} ADD COLUMN {quoted(f.name)} {kind}")
        elif stored.get(f.name, "").replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ") != kind:
            raise PluginError(
                f"table {contract.name} of plugin {contract.owner} holds {f.name} as {stored.get(f.name, 'nothing')}",
                expected=kind,
                hint="a new version of a contract may add columns that can be null; anything else needs a new table",
            )


def contract_ddl(contract: TableContract) -> str:
    """`CREATE TABLE` of a contract, with the load id of each row."""
    columns = ", ".join(
        f"{quoted(f.name)} {sql_type(f.type)}{' NOT NULL' if f.required else ''}" for f in contract.fields
    )
    return f"CREATE TABLE {quoted(contract.name)} ({columns}, load_id INTEGER NOT NULL)"


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of an Arrow type that contracts use."""
    names = {
        pa.string(): "VARCHAR",
        pa.date32(): "DATE",
        pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
        pa.float64(): "DOUBLE",
        pa.int32(): "INTEGER",
        pa.int64(): "BIGINT",
        pa.bool_(): "BOOLEAN",
        pa.binary(): "BLOB",
    }
    return names[kind]
