from bncourse.experiments.shared import record_run
from bncourse.experiments.weight_decay import Settings, run, verdicts

record_run("weight_decay", Settings(), run, verdicts)
