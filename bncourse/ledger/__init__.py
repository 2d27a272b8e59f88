"""The claims ledger: what popular articles say about batch normalization, and how each claim fares when it is tested.

An entry states the claim, the literature, the estimand, the smallest effect of interest and the decision rule. The
experiments' records hold the verdicts. Nothing here loads torch until an experiment is run (:mod:`.running`).
"""

from bncourse.ledger.claim import ARTICLES, Claim
from bncourse.ledger.registry import CLAIMS, select
from bncourse.ledger.state import LEVEL, NOT_RUN, State, states

__all__ = ["ARTICLES", "CLAIMS", "LEVEL", "NOT_RUN", "Claim", "State", "select", "states"]
