"""How the operator waits for an API server that is away."""

from itertools import islice

from palm_operator.running.handlers import kopf_settings


def test_watches_wait_for_the_api_server_without_end_and_come_back_within_seconds():
    backoffs = kopf_settings(scans=False).networking.error_backoffs
    for _ in range(2):  # each request begins anew
        pauses = list(islice(backoffs, 10_000))
        assert len(pauses) == 10_000
        assert pauses[0] <= 1
        assert max(pauses) <= 10
