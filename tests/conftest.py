"""How the tests are shared between processes."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Each file in one process, since it shares what it made; all that looks at the finished study in one, too."""
    for item in items:
        group = "study" if "finished" in item.fixturenames else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
