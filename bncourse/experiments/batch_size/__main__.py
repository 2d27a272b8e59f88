from bncourse.experiments.batch_size import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("batch_size", Settings(), run, verdicts)
