from bncourse.experiments.deeper import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("deeper", Settings(), run, verdicts)
