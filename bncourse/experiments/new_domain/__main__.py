from bncourse.experiments.new_domain import Settings, run
from bncourse.experiments.shared import record_run

record_run("new_domain", Settings(), run, verdicts=lambda _outcome: [])
