from bncourse.experiments.architectures import Settings, run, verdicts
from bncourse.experiments.shared import record_run

record_run("architectures", Settings(), run, verdicts)
