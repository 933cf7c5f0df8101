"""Today's list: findings fused into a probability, visits in order, and a bound on how many are wasted."""

from dianhuan_hub.ranking._bound import Bound, PastDay, bound, clopper_pearson, days_needed, longest
from dianhuan_hub.ranking._fusion import COLD, Ranking, Way, learn, probabilities
from dianhuan_hub.ranking._lessons import RECIDIVIST, Lessons, Visit, lessons, past_days, share_found
from dianhuan_hub.ranking._lines import ListLine, evidence_of
from dianhuan_hub.ranking._lists import Lists, TodaysList, digest
from dianhuan_hub.ranking._order import SEVERITY, Costs, visit_order

__all__ = [
    "COLD",
    "RECIDIVIST",
    "SEVERITY",
    "Bound",
    "Costs",
    "Lessons",
    "ListLine",
    "Lists",
    "PastDay",
    "Ranking",
    "TodaysList",
    "Visit",
    "Way",
    "bound",
    "clopper_pearson",
    "days_needed",
    "digest",
    "evidence_of",
    "learn",
    "lessons",
    "longest",
    "past_days",
    "probabilities",
    "share_found",
    "visit_order",
]
