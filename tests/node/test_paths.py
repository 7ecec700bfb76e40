"""Mount paths become local folders, and nothing else does."""

import pytest

from palm_devcluster.node.paths import Mount, translate

MOUNTS = [
    Mount("/data", "/pod/data"),
    Mount("/data/models", "/pod/models"),
    Mount("/etc/app/one.txt", "/pod/files/renamed.txt"),
]


@pytest.mark.parametrize(
    ("text", "translated"),
    [
        ("/data", "/pod/data"),
        ("/data/", "/pod/data/"),
        ("/data/x/y", "/pod/data/x/y"),
        ("/data/models/m", "/pod/models/m"),
        ("/database", "/database"),
        ("/data-old", "/data-old"),
        ("/data.bak", "/data.bak"),
        ("/other/data", "/other/data"),
        ("--out=/data/x", "--out=/pod/data/x"),
        ("/data/a:/data/models/b", "/pod/data/a:/pod/models/b"),
        ("cat /data/a > '/data/b'", "cat /pod/data/a > '/pod/data/b'"),
        ('{"folder":"/data"}', '{"folder":"/pod/data"}'),
        ("file:///data/x", "file:///pod/data/x"),
        ("s3://bucket/data", "s3://bucket/data"),
        ("http://host/data", "http://host/data"),
        ("http://data/models", "http://data/models"),
        ("$HOME/data", "$HOME/data"),
        ("${ROOT}/data", "${ROOT}/data"),
        ("$(pwd)/data", "$(pwd)/data"),
        ("/etc/app/one.txt", "/pod/files/renamed.txt"),
        ("", ""),
    ],
)
def test_translation(text: str, translated: str) -> None:
    assert translate(text, MOUNTS) == translated


def test_a_replaced_path_is_not_replaced_again() -> None:
    assert translate("/a", [Mount("/a", "/b/a"), Mount("/b", "/c")]) == "/b/a"


def test_without_mounts_nothing_changes() -> None:
    assert translate("/data", []) == "/data"
