"""The table of settings: documented completely, read in the right order, refused with a sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from plum_controller.settings import SettingError, Settings, documentation, load, names_of

ROOT = Path(__file__).parents[3]


def test_the_documentation_is_generated_and_complete() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()

    assert documentation() in text, "run: python -m plum_controller.settings > docs/settings.md"
    for entry in dataclasses.fields(Settings):
        for name in names_of(entry):
            assert f"`{name}`" in text
        assert len(entry.metadata["description"]) > 10


def test_names_are_given_once() -> None:
    names = [name for entry in dataclasses.fields(Settings) for name in names_of(entry)]

    assert len(names) == len(set(names))


def test_flags_are_over_the_environment_over_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "# a comment\n\nCONTROLLER_ADDR=127.0.0.1:1\nexport CONTROLLER_DATA_DIR = '/file'\nPLUM_LOG_LEVEL=\"debug\"\n"
    )
    environment = {"CONTROLLER_ADDR": "127.0.0.1:2", "FAILOVER_ENABLED": "off", "PLUM_ALLOWED_HOSTS": "a, b,"}

    settings = load(environment, file, listen=None, data_dir="/flag")

    assert (settings.listen, settings.data_dir, settings.log_level) == ("127.0.0.1:2", "/flag", "debug")
    assert (settings.failover_enabled, settings.allowed_hosts, settings.peer_rate) == (False, ("a", "b"), 40_000)


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTO_MIGRATION_ENABLED", "maybe"), ("PLUM_PEER_RATE", "-1"), ("PLUM_WATCH_SECONDS", "inf"), ("PLUM_LOG_FORMAT", "xml")],
)
def test_values_that_make_no_sense_are_refused_by_name(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=f"^{name} is '{value}'; use "):
        load({name: value}, tmp_path / "none")


def test_a_line_that_is_no_setting_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=1\nnonsense\n")

    with pytest.raises(SettingError, match=r"\.env:2: 'nonsense' is no NAME=value"):
        load({}, file)
