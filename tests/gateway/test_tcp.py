"""HJ 212 over TCP: what a logger is answered is in the store, and nothing else is answered."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from dianhuan_sdk import ConfigError

NOW = datetime.now(UTC).replace(microsecond=0)


def test_an_upload_is_committed_and_then_answered_with_its_qn(city: Any) -> None:
    line = city.dial(0)
    (frame,) = line.upload(NOW, values={"i33200": 1.5, "e30101": 0.24})
    line.send(frame)
    (qn,) = line.answers(1)
    assert qn.encode() in frame
    rows = city.query("""SELECT o.channel_id, r.value, r.quality, r.device_at = r."at"
        FROM reading r JOIN channel_ordinal o USING (ch) ORDER BY 1""")
    device = line.logger.station.mn
    assert rows == [(f"{device}/e30101-rtd", 0.24, "N", True), (f"{device}/i33200-rtd", 1.5, "N", True)]
    assert city.query("SELECT device_id, kind, state, raw FROM raw_frame") == [(device, "2011", "read", frame)]
    assert city.query("SELECT plugin, source, accepted FROM load") == [("hj212", "gateway:loggers", 2)]
    assert [r["value"] for r in city.hub.store.readings.latest(device)] == [0.24, 1.5]
    assert city.metric("readings_total", result="accepted") == 2


def test_many_frames_of_many_devices_are_all_answered_once(city: Any) -> None:
    lines = [city.dial(n) for n in range(4)]
    sent = {n: [line.upload(NOW - timedelta(minutes=m))[0] for m in range(200)] for n, line in enumerate(lines)}
    for n, line in enumerate(lines):
        line.send(*sent[n])
    for n, line in enumerate(lines):
        assert sorted(line.answers(200)) == sorted(f[9:26].decode() for f in sent[n])
    assert city.hub.store.readings.count() == 800


def test_the_same_frame_again_is_answered_again_and_stored_once(city: Any) -> None:
    line = city.dial(0)
    frames = line.upload(NOW)
    for _ in range(3):
        line.send(*frames)
        assert len(line.answers(1)) == 1
    assert city.hub.store.readings.count() == 1
    assert city.metric("readings_total", result="unchanged") == 2


def test_any_chunking_gives_the_same_readings(city: Any) -> None:
    line = city.dial(0)
    data = b"".join(line.upload(NOW - timedelta(minutes=m))[0] for m in range(3))
    for place in range(0, len(data), 7):
        line.send(data[place : place + 7])
    assert len(line.answers(3)) == 3
    assert city.hub.store.readings.count() == 3


def test_a_heartbeat_and_a_notice_are_answered_with_9013(city: Any) -> None:
    line = city.dial(0, edition=2025)
    line.send(line.logger.heartbeat(NOW), line.logger.ask_time(NOW + timedelta(seconds=1)))
    assert len(line.answers(2, "9013")) == 2


def test_what_was_sent_before_the_end_of_a_connection_is_answered(city: Any) -> None:
    line = city.dial(0)
    line.send(*line.upload(NOW))
    line.socket.shutdown(socket.SHUT_WR)
    assert len(line.answers(1)) == 1
    assert line.closed()


def test_stopping_commits_and_answers_what_was_received(start: Any, city: Any) -> None:
    line = city.dial(0)
    line.send(*line.upload(NOW))
    city.until(lambda: city.hub.gateway.status()["queue_bytes"] or city.hub.store.readings.count())
    city.thread.stop()
    assert len(line.answers(1)) == 1
    assert city.hub.store.readings.count() == 1


def test_tls(start: Any, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    city = start(tls_cert="cert.pem", tls_key="key.pem", handshake_s=1.0)
    city.approve(0)
    line, plain, mute = city.dial(0), city.dial(0), city.dial(0)
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    line.socket = context.wrap_socket(line.socket, server_hostname="localhost")
    line.send(*line.upload(NOW))
    assert len(line.answers(1)) == 1
    plain.send(*plain.upload(NOW))  # plain text on a TLS port
    assert plain.closed()
    assert mute.closed()  # and nothing at all
    assert city.hub.store.readings.count() == 1
    line.socket.close()


def test_a_missing_certificate_is_said(start: Any) -> None:
    with pytest.raises(ConfigError, match="certificate"):
        start(tls_cert="nowhere.pem")


def test_a_port_that_is_taken_is_said(city: Any, helpers: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="cannot listen"),
        helpers.running(tmp_path / "other", port=city.address[1]),
    ):
        pass


def test_a_protocol_that_is_not_loaded_is_said(start: Any) -> None:
    with pytest.raises(ConfigError, match="modbus"):
        start(protocol="modbus")
