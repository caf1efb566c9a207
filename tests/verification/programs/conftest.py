"""The sandbox that the tests of this folder share, on both backends."""

import pytest
from backends import BACKENDS, started


@pytest.fixture(scope="module", params=BACKENDS)
def sandbox(request):
    with started(request.param) as box:
        yield box
