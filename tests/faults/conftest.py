"""One cluster of quick fakes for everything that goes wrong here."""

from collections.abc import Iterator

import pytest

from faults.lab import Lab, lab


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "")
        with lab(tmp_path_factory.mktemp("faults")) as made:
            yield made
