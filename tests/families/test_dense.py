"""The rows of kind ``dense`` in the table of model families."""

from tests.families.checks import FamilyChecks


class TestDense(FamilyChecks):
    kind = "dense"
