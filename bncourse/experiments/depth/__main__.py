from bncourse.experiments.depth import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("depth", Settings(), run, verdicts)
