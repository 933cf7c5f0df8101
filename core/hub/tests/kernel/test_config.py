"""hub.toml and the environment: what is right is read, what is wrong is named with its place and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from dianhuan_hub.kernel.config import HubConfig, load_config, write_template
from dianhuan_sdk import ConfigError

CITY = '[city]\nname = "株洲市"\ndivision = "430200"\n'


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> HubConfig:
    (folder / "hub.toml").write_text(text, "utf-8")
    return load_config(folder, environ or {})


def test_template_is_read_with_its_defaults(tmp_path: Path) -> None:
    file = tmp_path / "new" / "hub.toml"
    write_template(file, '株洲"市', "430200")
    config = load_config(file, {})
    assert config.city.name == '株洲"市'
    assert config.city.province == "430000"
    assert config.data_dir == tmp_path / "new" / "data"
    assert (config.api.host, config.api.port) == ("127.0.0.1", 8400)
    assert (config.store.memory_limit, config.store.threads, config.store.hot_days, config.store.raw_days) == (
        "1GB",
        2,
        90,
        90,
    )
    assert (config.screening.capacity, config.screening.random_share) == (130, 0.1)
    assert (dict(config.sources), config.plugins.disabled, dict(config.keys)) == ({}, (), {})
    with pytest.raises(ConfigError, match="is there already"):
        write_template(file, "x", "430200")


def test_bad_division_writes_no_template(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"city\.division = '4302'"):
        write_template(tmp_path / "hub.toml", "株洲市", "4302")
    assert not (tmp_path / "hub.toml").exists()


def test_all_sections(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        'data_dir = "/srv/dianhuan"\n'
        + CITY
        + """
[sources.zhuzhou]
adapter = "grid_hunan"
streams = ["load_curve"]
config = { path = "in" }
[plugins]
disabled = ["vendor"]
[plugins.models.m05-night-only]
ratio = 4
[keys.bureau]
sha256 = "%s"
role = "analyst"
divisions = ["4302"]
purpose = "执法"
"""
        % ("AB" * 32),
    )
    assert config.data_dir == Path("/srv/dianhuan")
    assert config.sources["zhuzhou"].streams == ("load_curve",)
    assert config.sources["zhuzhou"].config == {"path": "in"}
    assert config.plugins.table("models") == {"m05-night-only": {"ratio": 4}}
    assert config.plugins.table("other") == {}
    assert config.keys["bureau"].sha256 == "ab" * 32


def test_environment_overrides(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        CITY,
        {
            "DIANHUAN_CITY__NAME": "湘潭市",
            "DIANHUAN_API__PORT": "9000",
            "DIANHUAN_DATA_DIR": "elsewhere",
            "DIANHUAN_PLUGINS__DISABLED": '["a"]',
            "DIANHUAN_HUB": "ignored",
            "DIANHUAN_PASSWORD": "ignored",
        },
    )
    assert (config.city.name, config.api.port) == ("湘潭市", 9000)
    assert config.data_dir == tmp_path / "elsewhere"
    assert config.plugins.disabled == ("a",)


@pytest.mark.parametrize(
    ("text", "place", "given", "expected"),
    [
        ('[city]\nname = "x"\n', "city.division is missing", "", "GB/T 2260"),
        ('[city]\nname = "x"\ndivision = 430200\n', "city.division", "430200", "string"),
        (CITY + "[api]\nport = 99999\n", "api.port", "99999", "65535"),
        (CITY + "[api]\nprot = 1\n", "unknown key api.prot", "", "port"),
        (CITY + '[store]\nmemory_limit = "lots"\n', "store.memory_limit", "'lots'", "1GB"),
        (CITY + "[sources.zhuzhou]\nstreams = []\n", "sources.zhuzhou.adapter is missing", "", "adapter"),
        (CITY + '[sources.zhuzhou]\nadapter = "a"\nstreams = "some"\n', "sources.zhuzhou.streams", "'some'", ""),
        (CITY + "[plugins]\nvendor = 1\n", "plugins.vendor", "1", "dictionary"),
        (CITY + "[screening]\nrandom_share = 2\n", "screening.random_share", "2", "0.5"),
        ("city = 3\n", "city", "3", ""),
        ('[city]\nname = "x\n', "not TOML", "", "TOML"),
    ],
)
def test_errors_name_file_key_given_and_expected(
    tmp_path: Path, text: str, place: str, given: str, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    error = caught.value
    assert str(tmp_path / "hub.toml") in error.message
    assert place in error.message
    assert given in error.message
    assert expected in error.expected
    assert error.hint


def test_typo_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean port"):
        load(tmp_path, CITY + "[api]\nprot = 1\n")


def test_error_from_the_environment_names_the_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"variable DIANHUAN_API__PORT: api\.port = 'x'"):
        load(tmp_path, CITY, {"DIANHUAN_API__PORT": "x"})
    with pytest.raises(ConfigError, match="not JSON"):
        load(tmp_path, CITY, {"DIANHUAN_PLUGINS__DISABLED": "[a"})
    with pytest.raises(ConfigError, match="no table"):
        load(tmp_path, CITY, {"DIANHUAN_CITY__NAME__X": "1"})


def test_a_key_in_clear_is_refused_and_not_echoed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, CITY + '[keys.a]\nsha256 = "hunter2"\nrole = "admin"\ndivisions = ["43"]\npurpose = "x"\n')
    assert "keys.a.sha256" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_key_without_scope_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"keys\.a\.divisions"):
        load(tmp_path, CITY + f'[keys.a]\nsha256 = "{"0" * 64}"\nrole = "admin"\ndivisions = []\npurpose = "x"\n')


def test_no_file_and_wrong_encoding(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="dianhuan init"):
        load_config(tmp_path, {})
    (tmp_path / "hub.toml").write_bytes(CITY.encode("gb18030"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path, {})
