from bncourse.experiments.landscape import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("landscape", Settings(), run, verdicts)
