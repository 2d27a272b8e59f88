"""A hosted notebook opens alone, over libraries of its own: the first cell must install, and replace nothing."""

import pytest

from tests.book.installs import Environment, export_to

pytestmark = pytest.mark.install

# Another NumPy in range than the locked one, as a hosted image has; no torch, which these notebooks do without.
HOSTED = ("numpy==2.1.3", "matplotlib", "scikit-learn", "ipykernel", "nbclient")


def test_the_numpy_chapters_run_on_a_hosted_image_and_leave_it_as_it_is(built_book, tmp_path):
    export = export_to(tmp_path)
    hosted = Environment(tmp_path / "environment")
    hosted.install(*HOSTED, cwd=export)
    before = hosted.installed(export)
    assert "bncourse" not in before

    # Only the notebook is at hand, under another name; the wheel is where the first cell looks for it.
    folder = tmp_path / "content" / "deep" / "down"
    folder.mkdir(parents=True)
    parts = [path for part in ("1_transform", "2_backprop") for path in sorted((export / "book" / part).iterdir())]
    # A hosted image has PyTorch, which may be gigabytes: a chapter that cannot do without is left to Binder's test.
    needs_torch = '"import torch', '"from bncourse.lab'
    chapters = [path for path in parts if not any(line in path.read_text(encoding="utf-8") for line in needs_torch)]
    assert len(chapters) >= 5
    notebooks = []
    for number, chapter in enumerate(chapters):
        notebooks.append(folder / f"Copy of {number}.ipynb")
        notebooks[-1].write_text(chapter.read_text(encoding="utf-8"), encoding="utf-8")
    for wheel in export.glob("*.whl"):
        (tmp_path / "content" / wheel.name).write_bytes(wheel.read_bytes())

    hosted.run("jupyter", "execute", "--timeout=120", *map(str, notebooks), cwd=folder)
    after = hosted.installed(export)
    assert "bncourse" in after
    assert {name: after.get(name) for name in before} == before, "the first cell replaced what was there"
