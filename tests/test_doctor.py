"""The doctor must tell the truth on a machine that lacks things, and name a remedy for each."""

import sys
from importlib import metadata

import pytest
from typer.testing import CliRunner

from bncourse import __version__, cli, doctor


def found(subject):
    return next(finding for finding in doctor.examine() if finding.subject == subject)


def test_it_names_everything_it_promises():
    subjects = {finding.subject for finding in doctor.examine()}
    assert {
        "Python",
        "bncourse",
        "numpy",
        "torch",
        "threads",
        "GPU",
        "Triton's interpreter",
        "browser",
        "sandbox",
    } <= subjects


def test_whatever_is_missing_has_a_remedy():
    for finding in doctor.examine():
        assert (finding.state == "ok") == (finding.remedy == ""), finding


def test_a_library_that_is_not_installed_is_missing_with_the_extra_that_brings_it(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "scipy":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert found("scipy").state == "missing"
    assert found("scipy").remedy == "pip install 'bncourse[lab]'"
    assert found("pandas").state == "ok"


def test_the_name_of_an_extra_is_printed(monkeypatch, capsys):
    """Catches a table that takes square brackets for its own markup and swallows them."""
    remedy = "pip install 'bncourse[lab]'"
    monkeypatch.setattr(doctor, "examine", lambda: [doctor.Finding("scipy", "missing", "-", remedy)])
    doctor.report()
    assert remedy in capsys.readouterr().out


@pytest.mark.parametrize("extra", sorted({extra for _, extra in doctor.LIBRARIES.values()}))
def test_the_extras_it_recommends_exist(extra):
    assert extra in metadata.metadata("bncourse").get_all("Provides-Extra")


@pytest.mark.parametrize(("version", "state"), [((3, 10, 0), "wrong"), ((3, 11, 0), "ok"), ((3, 14, 0), "wrong")])
def test_python_out_of_range_is_wrong_and_fails_the_command(monkeypatch, version, state):
    class VersionInfo(tuple):
        minor = version[1]

    monkeypatch.setattr(sys, "version_info", VersionInfo(version))
    assert found("Python").state == state
    assert CliRunner().invoke(cli.app, ["doctor"]).exit_code == (state == "wrong")


def test_no_browser_and_no_sandbox(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    assert found("browser").remedy.startswith("sudo apt-get install chromium")
    assert found("sandbox").state == "missing"


@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is a Linux program")
def test_a_sandbox_that_is_installed_and_refused_is_not_called_ok(tmp_path, monkeypatch):
    """Catches looking for the program only: in many containers it is there and may not make namespaces."""
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: str(refusing))
    assert "No permissions" in found("sandbox").found
    assert found("sandbox").state == "missing"


def test_the_interpreter_switch_is_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert found("Triton's interpreter").found == "on"
    monkeypatch.delenv("TRITON_INTERPRET")
    assert found("Triton's interpreter").found.startswith("off")


@pytest.mark.parametrize(
    ("triton", "numpy", "state"),
    [("3.6.0", "2.4.6", "missing"), ("3.6.0", "2.3.5", "ok"), ("3.7.1", "2.4.6", "ok"), (None, "2.4.6", "ok")],
)
def test_a_triton_that_cannot_interpret_with_this_numpy_is_found(triton, numpy, state, monkeypatch):
    known = {"triton": triton, "numpy": numpy}

    def version(name):
        if known.get(name, "1.0") is None:
            raise doctor.metadata.PackageNotFoundError(name)
        return known.get(name, "1.0")

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert found("Triton's interpreter").state == state


def test_the_command_prints_the_table_and_the_version():
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 0
    assert "numpy" in result.output
    assert CliRunner().invoke(cli.app, ["--version"]).output.strip() == __version__
