"""The rows of kind ``recurrent`` in the table of model families."""

from tests.families.checks import FamilyChecks


class TestRecurrent(FamilyChecks):
    kind = "recurrent"
