"""Meshes, the rules that lay arrays out on them, and what each refuses."""

import jax
import numpy as np
import pytest
from tiny import one_device, three_axes

from acejax.errors import UserError
from acejax.mesh import SAMPLING, TRAINING, Rules, describe, make_mesh, place, platform, row_divisor


def test_the_axis_of_minus_one_takes_what_the_others_leave():
    assert dict(make_mesh(-1, 2, data=2).shape) == {"data": 2, "fsdp": 2, "sequence": 1, "tensor": 2}
    assert dict(make_mesh(2, 1, data=-1).shape) == {"data": 4, "fsdp": 2, "sequence": 1, "tensor": 1}


@pytest.mark.parametrize(
    ("axes", "found"),
    [
        ({"fsdp": 3}, "fsdp=3 x tensor=1 does not divide 8 devices"),
        ({"fsdp": 3, "tensor": -1}, "fsdp=3 x tensor=-1 does not divide 8 devices"),
        ({"fsdp": -1, "tensor": -1}, "fsdp=-1 x tensor=-1 does not divide"),
        ({"fsdp": -1, "tensor": 0}, "fsdp=-1 x tensor=0 does not divide"),
        ({"fsdp": -1, "data": 3}, "data=3 x fsdp=-1 x tensor=1 does not divide 8 devices"),
        ({"fsdp": -2, "tensor": -4}, "fsdp=-2 x tensor=-4 does not divide"),
        ({"sequence": 2}, "mesh.sequence is 2.*set it to 1"),
    ],
)
def test_axes_that_do_not_multiply_to_the_devices_are_refused(axes, found):
    with pytest.raises(UserError, match=found):
        make_mesh(**axes)


def test_rows_are_split_over_data_and_fsdp():
    mesh = three_axes()
    assert row_divisor(mesh) == 4
    rows = place(np.arange(8 * 3).reshape(8, 3), mesh, TRAINING.spec("batch", None))
    assert {shard.data.shape for shard in rows.addressable_shards} == {(2, 3)}
    assert len({shard.index[0].start for shard in rows.addressable_shards}) == 4


def test_a_name_that_is_no_logical_axis_is_refused():
    with pytest.raises(ValueError, match="no logical axis 'hedas'; the logical axes are batch, .*heads"):
        TRAINING.spec("batch", "hedas")
    with pytest.raises(ValueError, match="'hedas'"):
        TRAINING.gathered("hedas", "width")
    assert TRAINING.spec(None, None) == jax.P(None, None)


def test_two_dimensions_on_one_mesh_axis_are_refused():
    for rules, axes in ((Rules(mlp="fsdp"), ("width", "mlp")), (TRAINING, ("batch", "width"))):
        with pytest.raises(ValueError, match="collide"):
            rules.spec(*axes)
    assert SAMPLING.spec("batch", "width") == jax.P(("data", "fsdp"), None)


def test_a_mesh_says_what_it_is_made_of():
    assert describe(make_mesh(4, 2)) == "8 x cpu (fsdp=4, tensor=2)"
    assert describe(one_device()) == "1 x cpu (fsdp=1, tensor=1)"
    assert describe(three_axes()) == "8 x cpu (data=2, fsdp=2, tensor=2)"
    assert platform(one_device()) == "cpu"
    with jax.set_mesh(one_device()):
        assert jax.eval_shape(lambda: np.zeros(len(platform(jax.sharding.get_abstract_mesh())))).shape == (3,)
