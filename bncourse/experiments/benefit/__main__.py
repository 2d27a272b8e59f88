from bncourse.experiments.benefit import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("benefit", Settings(), run, verdicts)
