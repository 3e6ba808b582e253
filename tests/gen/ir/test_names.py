import pytest

from headrace.gen.ir.names import MAX_LENGTH, identifiers


@pytest.mark.parametrize(("names", "expected"), [
    ([("conv", "net/Conv/Relu6"), ("conv", "net/head/Relu")], ["conv_relu6", "head_relu"]),
    ([("conv", "/conv1/Conv"), ("add", "/block.0/Add")], ["conv1_conv", "block_0_add"]),
    ([("gemm", "a/dense"), ("gemm", "Identity")], ["a_dense", "gemm_identity"]),
    ([("conv", "input"), ("conv", "conv1"), ("conv", "3x3")], ["conv_input", "conv1", "conv_3x3"]),
    ([("add", ""), ("add", ""), ("add", "//")], ["add", "add_2", "add_3"]),
    ([("conv", "größe::a_b")], ["gr_e_a_b"]),
    ([("conv", "a b"), ("conv", "a_b"), ("conv", "A-B"), ("conv", "a_b_2")],
     ["a_b", "a_b_2", "a_b_3", "a_b_2_2"]),
    ([("conv", "first/block_1_project_BN/FusedBatchNormV3_with_more"), ("add", "second")],
     ["project_bn_fusedbatchnormv3_with_more", "add_second"]),
    ([("conv", "x" * 50)] * 2, ["x" * 40, "x" * 38 + "_2"]),
    ([], []),
])
def test_identifiers(names: list[tuple[str, str]], expected: list[str]) -> None:
    assert identifiers(names) == expected
    assert all(len(name) <= MAX_LENGTH for name in expected)
