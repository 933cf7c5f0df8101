"""How good a model is in provinces that try it, and what a newcomer may expect: counts in, judgement out. Pure."""

from dianhuan_federation.evaluation._counts import Counts, counts_by_model
from dianhuan_federation.evaluation._estimate import Estimate, Precision, estimate
from dianhuan_federation.evaluation._passport import Passport, passport_bytes, read_passport
from dianhuan_federation.evaluation._verdict import Advice, advise

__all__ = [
    "Advice",
    "Counts",
    "Estimate",
    "Passport",
    "Precision",
    "advise",
    "counts_by_model",
    "estimate",
    "passport_bytes",
    "read_passport",
]
