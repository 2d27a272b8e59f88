"""All claims of the ledger, in the order of their numbers."""

from bncourse.ledger.claim import Claim
from bncourse.ledger.entries import convergence, gradients, initialization, placement, regularization, transform

_GROUPS = (transform, convergence, gradients, initialization, regularization, placement)
CLAIMS: tuple[Claim, ...] = tuple(
    sorted((claim for group in _GROUPS for claim in group.CLAIMS), key=lambda claim: claim.number)
)


def select(names: list[str]) -> list[Claim]:
    """The claims of these names, in the ledger's order; all if there are none.

    Parameters
    ----------
    names : such as C2, in capitals or not; none of them: all claims.

    Raises
    ------
    LookupError : if there is no claim of a name; the message lists those that there are.

    Examples
    --------
    >>> from bncourse.ledger import select
    >>> [claim.statement for claim in select(["C22"])]
    ['learnable scale and shift give each layer its best mean and variance, the identity included']
    """
    wanted = {name.upper() for name in names}
    unknown = wanted - {claim.id for claim in CLAIMS}
    if unknown:
        raise LookupError(f"no claim {', '.join(sorted(unknown))}; there are {CLAIMS[0].id} to {CLAIMS[-1].id}")
    return [claim for claim in CLAIMS if not wanted or claim.id in wanted]
