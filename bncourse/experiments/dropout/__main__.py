from bncourse.experiments.dropout import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("dropout", Settings(), run, verdicts)
