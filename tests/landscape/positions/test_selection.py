import pytest

from landscape.positions.selection import ALL_TENSORS, either, matrix_type, selected, selects
from quant.errors import UsageError
from quant.space import WeightSpace
from tests import tiny

SPACE = WeightSpace.of(tiny.llama())
NAMES = [slot.name for slot in SPACE]


def names(selection):
    return [slot.name for slot in selected(selection, SPACE)]


def test_a_selection_is_a_block_a_type_a_glob_or_several():
    assert names(ALL_TENSORS) == NAMES
    assert names("block=1") == [name for name in NAMES if name.startswith("model.layers.1.")]
    assert names("type=mlp.down_proj") == ["model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"]
    assert names("*.q_proj.*") == [name for name in NAMES if "q_proj" in name]
    assert names(NAMES[3]) == [NAMES[3]]
    assert names(f"block=1,{NAMES[3]}") == [NAMES[3], *names("block=1")]
    assert names(f"!block=1,{NAMES[3]}") == [name for name in names("block=0") if name != NAMES[3]]


def test_the_same_tensors_have_one_name_in_whatever_order():
    assert either([NAMES[2], NAMES[0], NAMES[2]]) == either([NAMES[0], NAMES[2]])
    assert names(either([NAMES[2], NAMES[0]])) == [NAMES[0], NAMES[2]]


@pytest.mark.parametrize("make", tiny.ARCHITECTURES.values())
def test_every_block_has_the_same_types(make):
    space = WeightSpace.of(make())
    types = [[matrix_type(slot) for slot in space if slot.block == block] for block in (0, 1)]
    assert types[0] == types[1]
    assert len(set(types[0])) == len(types[0])
    assert all(f".{slot.block}.{matrix_type(slot)}.weight" in slot.name for slot in space)


@pytest.mark.parametrize("selection", ["block=7", "type=mlp", "nothing", "!*"])
def test_a_selection_of_nothing_is_an_error_that_shows_what_could_be_selected(selection):
    with pytest.raises(UsageError, match=r"type=self_attn\.q_proj"):
        selected(selection, SPACE)


@pytest.mark.parametrize("selection", ["block=one", "layer=3", "block="])
def test_a_selection_that_cannot_be_read_is_an_error(selection):
    with pytest.raises(UsageError, match="block=NUMBER"):
        selects(selection, SPACE.slots[0])
