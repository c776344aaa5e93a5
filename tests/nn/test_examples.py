"""The examples in the docstrings of the network run as they stand."""

import inspect
import re
import textwrap

import pytest

from kresp3d.nn import P3DResNet, layers
from kresp3d.nn.transforms import inference_form

DOCUMENTED = [*(getattr(layers, name) for name in layers.__all__), P3DResNet, P3DResNet.from_preset, inference_form]


@pytest.mark.parametrize("thing", DOCUMENTED, ids=lambda thing: thing.__qualname__)
def test_example_runs_and_gives_the_shapes_that_it_names(thing):
    (example,) = re.findall(r"```python\n(.*?)```", textwrap.dedent(inspect.getdoc(thing)), re.DOTALL)
    names = {}
    exec(compile(example, thing.__qualname__, "exec"), names)
    for line in example.splitlines():
        found = re.match(r"(\w+) = .*#.*?\[([\d, ]+)\]", line)
        if found:
            assert list(names[found[1]].shape) == [int(side) for side in found[2].split(",")], line
