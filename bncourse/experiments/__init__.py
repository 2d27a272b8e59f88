"""One module for each experiment: its settings, its run, and the rule that turns its numbers into verdicts.

A rule stands in the module, with its thresholds and seeds, before the experiment is run: in the history, the commit
of a rule precedes the commit of its result. ``python -m bncourse.experiments.<name>`` runs an experiment at full size
and records the result, and so does ``bncourse claims run``, for one claim or for all.

What the ledger needs of an experiment's module is :class:`bncourse.experiments.shared.Experiment`.
"""
