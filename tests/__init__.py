"""Tests: about one file per module; `slow` marks kills, whole pipelines and fresh clones."""

import pytest

pytest.register_assert_rewrite("tests.own_pictures", "tests.servers")  # show values in the helpers' failed asserts, too
