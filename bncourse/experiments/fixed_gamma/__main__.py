from bncourse.experiments.fixed_gamma import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("fixed_gamma", Settings(), run, verdicts)
