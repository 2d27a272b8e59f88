from bncourse.experiments.placement import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("placement", Settings(), run, verdicts)
