from bncourse.experiments.initialization import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("initialization", Settings(), run, verdicts)
