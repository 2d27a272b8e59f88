from bncourse.experiments.residual import Settings, run
from bncourse.experiments.shared import record_run

record_run("residual", Settings(), run, verdicts=lambda _outcome: [])
