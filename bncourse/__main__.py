"""``python -m bncourse`` is ``bncourse``, for environments whose scripts are not on the path."""

from bncourse.cli import app

app(prog_name="bncourse")
