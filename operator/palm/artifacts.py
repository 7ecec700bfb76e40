"""Where each artefact lies below the storage prefix. Pure string functions; the only place.

Everything that training and evaluation make is content-addressed, so revisions and Portfolios
that share a prefix share policies::

    policies/<policy digest>/model/…                      weights, as safetensors
    policies/<policy digest>/trained.json                 TrainingRecord, the commit marker
    policies/<policy digest>/evaluations/<digest>.json    PolicyResult
    base/<evaluation digest>.json                         PolicyResult of the base policy
    calibrations/<calibration digest>.json                Calibration
    portfolios/<namespace>/<name>/<revision>/portfolio.json   manifest
"""

from palm.contract import StorageLocation


def under(storage: StorageLocation, key: str) -> str:
    """Return the object key of a path below the storage's prefix."""
    prefix = storage.prefix.strip("/")
    return f"{prefix}/{key}" if prefix else key


def uri(storage: StorageLocation, key: str) -> str:
    """Return ``s3://bucket/prefix/key``."""
    return f"s3://{storage.bucket}/{under(storage, key)}"


def model_folder(policy_digest: str) -> str:
    """Folder of a trained policy's files."""
    return f"policies/{policy_digest}/model"


def training_record(policy_digest: str) -> str:
    """Key of the commit marker of a trained policy."""
    return f"policies/{policy_digest}/trained.json"


def evaluation_result(policy_digest: str | None, evaluation_digest: str) -> str:
    """Key of a result file; ``policy_digest`` None means the base policy."""
    if policy_digest is None:
        return f"base/{evaluation_digest}.json"
    return f"policies/{policy_digest}/evaluations/{evaluation_digest}.json"


def calibration(calibration_digest: str) -> str:
    """Key of the frozen payoff table."""
    return f"calibrations/{calibration_digest}.json"


def manifest(namespace: str, name: str, revision: str) -> str:
    """Key of the full ledger of one revision of a Portfolio."""
    return f"portfolios/{namespace}/{name}/{revision}/portfolio.json"
