from bncourse.experiments.regularization import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("regularization", Settings(), run, verdicts)
