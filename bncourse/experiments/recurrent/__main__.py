from bncourse.experiments.recurrent import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("recurrent", Settings(), run, verdicts)
