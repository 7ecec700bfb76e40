"""Where Portfolios may store: endpoints, buckets and prefixes, one tenant beside another."""

import pytest

from palm.contract import StorageLocation
from palm_operator.settings import settings_from
from palm_operator.storage_rules import StorageRules, is_location


def allowed(entry: str, where: str, namespace: str = "ml") -> bool:
    bucket, _, prefix = where.partition("/")
    location = StorageLocation(bucket=bucket, prefix=prefix)
    return not StorageRules(locations=(entry,)).objection(location, namespace)


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("models", "models", "models2"),
        ("models", "models/any/where", "model"),
        ("models/{namespace}", "models/ml", "models/mls"),
        ("models/{namespace}", "models/ml/first", "models"),
        ("models/{namespace}", "models/ml/first", "models/other"),
        ("models-{namespace}", "models-ml/any", "models-other/ml"),
        ("{namespace}", "ml", "mlx"),
        ("models/a/{namespace}/b", "models/a/ml/b", "models/a/ml"),
    ],
)
def test_a_location_is_a_bucket_or_a_prefix_and_what_is_below(entry, inside, outside):
    assert allowed(entry, inside)
    assert not allowed(entry, outside)


def test_a_tenants_location_is_nobody_elses():
    assert allowed("models/{namespace}", "models/ml")
    assert not allowed("models/{namespace}", "models/ml", namespace="ml2")


def test_without_locations_everywhere_is_allowed_and_other_endpoints_are_not():
    rules = StorageRules()
    assert not rules.objection(StorageLocation(bucket="any", prefix="where"), "ml")
    elsewhere = StorageLocation(bucket="any", prefix="", endpoint="http://s3:9000")
    assert "'http://s3:9000'" in rules.objection(elsewhere, "ml")
    assert not StorageRules(endpoints=("*",)).objection(elsewhere, "ml")
    assert not StorageRules(endpoints=("http://s3:9000",)).objection(elsewhere, "ml")


@pytest.mark.parametrize("entry", ["models", "models/a_b=c/D", "{namespace}", "m-{namespace}/x"])
def test_locations_are_buckets_and_prefixes(entry):
    assert is_location(entry)
    assert settings_from({"PALM_STORAGE_LOCATIONS": f'["{entry}"]'}).storage.locations == (entry,)


@pytest.mark.parametrize(
    "entry",
    ["", "/models", "models/", "models//a", "models/..", "Models", "{name}", "models/{", "*"],
)
def test_other_texts_are_refused_by_name(entry):
    assert not is_location(entry)
    with pytest.raises(ValueError, match="PALM_STORAGE_LOCATIONS") as error:
        settings_from({"PALM_STORAGE_LOCATIONS": f'["{entry}"]'})
    assert repr(entry) in str(error.value)
