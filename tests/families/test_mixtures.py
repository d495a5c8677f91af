"""The rows of kind ``mixture`` in the table of model families."""

from tests.families.checks import FamilyChecks, Subject, check_hessians


class TestMixtures(FamilyChecks):
    kind = "mixture"

    def test_hessians_in_float64_with_one_expert_after_the_other(self, measured: Subject) -> None:
        model = measured.copy().double()
        model.set_experts_implementation("eager")
        check_hessians(model, measured.space)
