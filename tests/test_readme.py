"""The README must stay true: its examples, its commands and its list of chapters."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def expected_output(code):
    """The answers that the example promises: comments behind a print, or a comment block at its end."""
    behind = re.findall(r"^print\(.*?\) +# (.*?)(?:: .*)?$", code, re.MULTILINE)
    return behind or re.findall(r"^# (.*)$", code, re.MULTILINE)


@pytest.mark.parametrize("code", blocks("python"))
def test_each_example_prints_what_it_says(code, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("BNCOURSE_DATA", str(tmp_path))
    promised = expected_output(code)
    assert promised
    exec("import numpy as np\n" + code, {})
    assert capsys.readouterr().out.splitlines()[: len(promised)] == promised


def test_every_make_target_it_names_exists():
    named = set(re.findall(r"(?:^|`|'|# )make ([a-z]+)", README, re.MULTILINE))
    assert {"book", "test", "serve", "help"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))


def test_its_pip_commands_are_those_of_make():
    """Catches a flag that was changed in one of the two places."""

    def commands(text):
        joined = text.replace("\\\n", " ").replace("$(BIN)/", "")
        return {tuple(shlex.split(line, comments=True)) for line in joined.splitlines() if "--nbval" in line}

    in_readme = {tuple(command) for command in commands("\n".join(blocks("bash")))}
    in_make = {
        tuple(word for word in command if word not in {"-p", "no:cacheprovider"}) for command in commands(MAKEFILE)
    }
    assert in_readme == in_make != set()


def test_its_table_lists_every_notebook_of_the_book():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    pages = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    notebooks = {f"{page}.ipynb" for page in pages if (ROOT / f"{page}.ipynb").exists()}
    assert set(re.findall(r"\]\((book/.*?\.ipynb)\)", README)) == notebooks


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)(.*?)\)", README):
        assert (ROOT / target).exists(), target
