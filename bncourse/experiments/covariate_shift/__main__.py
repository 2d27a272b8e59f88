from bncourse.experiments.covariate_shift import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("covariate_shift", Settings(), run, verdicts)
