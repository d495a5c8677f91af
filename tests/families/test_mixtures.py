"""The rows of kind ``mixture`` in the table of model families."""

from tests.families.checks import FamilyChecks


class TestMixtures(FamilyChecks):
    kind = "mixture"
