from bncourse.experiments.shared import record_run
from bncourse.experiments.small_batches import Settings, run

record_run("small_batches", Settings(), run, verdicts=lambda _outcome: [])
