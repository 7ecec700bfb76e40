"""Where each artefact lies below the storage prefix. Pure string functions; the only place.

Everything that training and evaluation make is content-addressed, so revisions and Portfolios
that share a prefix share policies::

    policies/<policy digest>/model/…                      weights, as safetensors
    policies/<policy digest>/model/provenance.json        MadeFrom: what they were trained from
    policies/<policy digest>/trained.json                 TrainingRecord, the commit marker
    checkpoints/<policy digest>/<step>-<upload>/…         what a killed training goes on from
    checkpoints/<policy digest>/<step>-<upload>/complete.json   Checkpoint, its commit marker
    checkpoints/<policy digest>/progress.json             TrainingProgress while it runs
    policies/<policy digest>/evaluations/<digest>.json    PolicyResult
    policies/<policy digest>/evaluations/<digest>/…       every response (Parquet), some to read
    base/<evaluation digest>.json                         PolicyResult of the base policy
    base/<evaluation digest>/…                            the same of the base policy
    calibrations/<calibration digest>.json                Calibration
    portfolios/<namespace>/<name>/<revision>/portfolio.json   manifest of the latest decision
    portfolios/<namespace>/<name>/manifests/<sha256>.json     every manifest, for ever as it was
    portfolios/<namespace>/<name>/uses/<digest>.json          which of the above it relies on
    records/<namespace>/<name>/<number>.json              the record: what was deployed when and why
"""

from palm.contract import StorageLocation

CHECKPOINTS = "checkpoints"
"""Folder of everything that is of no use once its policy is trained."""
POLICIES = "policies"
BASE = "base"
CALIBRATIONS = "calibrations"
PORTFOLIOS = "portfolios"
RECORDS = "records"
USES = "uses"
PROVENANCE_FILE = "provenance.json"
"""In a policy's folder: from what it was trained."""


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


def checkpoints(policy_digest: str) -> str:
    """Folder of the checkpoints of a policy's training, and of its progress."""
    return f"{CHECKPOINTS}/{policy_digest}"


def checkpoint_marker(policy_digest: str, name: str) -> str:
    """Key of the commit marker of one checkpoint."""
    return f"{checkpoints(policy_digest)}/{name}/complete.json"


def training_progress(policy_digest: str) -> str:
    """Key of the object that says how far a training is."""
    return f"{checkpoints(policy_digest)}/progress.json"


def evaluation_result(policy_digest: str | None, evaluation_digest: str) -> str:
    """Key of a result file; ``policy_digest`` None means the base policy."""
    if policy_digest is None:
        return f"base/{evaluation_digest}.json"
    return f"policies/{policy_digest}/evaluations/{evaluation_digest}.json"


def evaluation_responses(policy_digest: str | None, evaluation_digest: str, sha256: str) -> str:
    """Key of the Parquet file with every response, by its content: a result names its own."""
    folder = _evaluation_folder(policy_digest, evaluation_digest)
    return f"{folder}/responses-{sha256[:16]}.parquet"


def evaluation_samples(policy_digest: str | None, evaluation_digest: str) -> str:
    """Key of the responses to the first few prompts, for people."""
    return f"{_evaluation_folder(policy_digest, evaluation_digest)}/samples.json"


def _evaluation_folder(policy_digest: str | None, evaluation_digest: str) -> str:
    return evaluation_result(policy_digest, evaluation_digest).removesuffix(".json")


def calibration(calibration_digest: str) -> str:
    """Key of the frozen payoff table."""
    return f"calibrations/{calibration_digest}.json"


def manifest(namespace: str, name: str, revision: str) -> str:
    """Key of the full ledger of one revision of a Portfolio."""
    return f"portfolios/{namespace}/{name}/{revision}/portfolio.json"


def manifest_copy(namespace: str, name: str, sha256: str) -> str:
    """Key of a manifest by its content: what was deployed can be looked up, and gone back to."""
    return f"portfolios/{namespace}/{name}/manifests/{sha256}.json"


def own_folder(namespace: str, name: str) -> str:
    """Folder of everything that is one Portfolio's alone."""
    return f"{PORTFOLIOS}/{namespace}/{name}"


def uses(namespace: str, name: str, digest: str) -> str:
    """Key of a record of what a Portfolio relies on, by the record's digest."""
    return f"{own_folder(namespace, name)}/{USES}/{digest}.json"


def record_folder(namespace: str, name: str) -> str:
    """Folder of a Portfolio's record; nothing else is in it."""
    return f"{RECORDS}/{namespace}/{name}"


def record_name(sequence: int) -> str:
    """Name of an entry of a record: its number, from 1, so that names sort by time."""
    return f"{sequence:08d}.json"


def record_entry(namespace: str, name: str, sequence: int) -> str:
    """Key of an entry of a Portfolio's record."""
    return f"{record_folder(namespace, name)}/{record_name(sequence)}"
