"""A zoo of tiny models of all families, made from transformers' own configurations and trained for a moment."""

from tests.families.dense import DENSE
from tests.families.family import VOCABULARY, Family
from tests.families.mixtures import MIXTURES
from tests.families.recurrent import RECURRENT
from tests.families.training import train_briefly, windows

FAMILIES = {family.name: family for family in (*DENSE, *MIXTURES, *RECURRENT)}

__all__ = ["FAMILIES", "VOCABULARY", "Family", "train_briefly", "windows"]
