from bncourse.experiments.convergence import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("convergence", Settings(), run, verdicts)
