"""Colab opens a notebook alone, over libraries of its own: the first cell must install, and replace nothing."""

import shutil

import pytest

from tests.book.installs import EVERY, Environment, export_to

pytestmark = [pytest.mark.slow, pytest.mark.install]

# Of Colab's image of June 2026 (github.com/googlecolab/backend-info) what the notebooks use, its kernel and its pip.
# Without a GPU it has no Triton; it has neither jaxtyping nor ONNX.
COLAB = (
    "filelock==3.29.0",
    "joblib==1.5.3",
    "matplotlib==3.10.0",
    "ml_dtypes==0.5.4",
    "numpy==2.0.2",
    "pandas==2.2.2",
    "platformdirs==4.10.0",
    "pooch==1.9.0",
    "protobuf==5.29.6",
    "rich==13.9.4",
    "scikit-learn==1.6.1",
    "scipy==1.16.3",
    "sympy==1.14.0",
    "tqdm==4.67.3",
    "typer==0.25.1",
    "ipykernel==6.17.1",
    "ipython==7.34.0",
    "jupyter_client==7.4.9",
    "nbclient==0.10.4",
    "pip==24.1.2",
    "traitlets==5.7.1",
    # Colab's is 2.11; this one comes as a CPU build to a machine that has it.
    "torch==2.13.0",
)
# A quick one of each part.
CHOSEN = (
    "setup",
    "1_transform/3_geometry",
    "2_backprop/2_closed_form",
    "3_kernel/exercises",
    "4_optimization/exercises",
    "5_regularization/exercises",
    "6_placement/exercises",
    "7_practice/3_inference",
    "appendix/conventions",
)


def test_the_notebooks_run_on_colabs_image_and_leave_it_as_it_is(built_book, tmp_path):
    """Catches a first cell that forgets what a chapter needs, and one that upgrades NumPy under the running kernel."""
    export = export_to(tmp_path)
    places = {path.relative_to(export / "book").with_suffix("").as_posix() for path in export.rglob("*.ipynb")}
    assert set(CHOSEN) <= places
    assert {place.rpartition("/")[0] for place in CHOSEN} == {place.rpartition("/")[0] for place in places}

    colab = Environment(tmp_path / "environment")
    colab.install(*COLAB, cwd=export)
    before = colab.installed(export)
    assert not {"bncourse", "triton", "onnx"} & set(before)

    # Only the notebook is at hand, under another name; the wheel is where the first cell looks for it.
    for wheel in export.glob("*.whl"):
        shutil.copy(wheel, tmp_path)
    notebooks = []
    for place in sorted(places) if EVERY else CHOSEN:
        folder = tmp_path / "content" / place.replace("/", " ") if "/" in place else tmp_path / "content"
        folder.mkdir(parents=True, exist_ok=True)
        notebooks.append(folder / f"Copy of {place.rpartition('/')[2]}.ipynb")
        shutil.copy(export / "book" / f"{place}.ipynb", notebooks[-1])
    colab.execute(notebooks)

    after = colab.installed(export)
    assert "bncourse" in after
    assert {name: after.get(name) for name in before} == before, "the first cell replaced what was there"
