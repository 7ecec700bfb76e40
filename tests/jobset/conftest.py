"""The quick cluster of the wiring tests, with the controllers of JobSet and Kueue in it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operator_wiring.conftest import environment as environment
from operator_wiring.conftest import kubectl as kubectl
from operator_wiring.conftest import operator as operator
from operator_wiring.conftest import quick_cluster
from operator_wiring.conftest import tenant as tenant
from palm_devcluster.cluster import EmbeddedCluster

REAL_TRAINER = "real-trainer"
# The process node has no DNS: the first node's Pod is met on the loopback instead of by its name.
START = (
    "import os, runpy; "
    "port = os.environ['PALM_MAIN_ADDRESS'].rpartition(':')[2]; "
    "os.environ['PALM_MAIN_ADDRESS'] = f'127.0.0.1:{port}'; "
    "runpy.run_module('palm_trainer', run_name='__main__')"
)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedCluster]:
    folder: Path = tmp_path_factory.mktemp("jobset")
    more = {REAL_TRAINER: [sys.executable, "-c", START]}
    with quick_cluster(folder, kueue=True, jobset=True, images=more) as made:
        yield made
