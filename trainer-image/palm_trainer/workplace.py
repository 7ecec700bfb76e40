"""The folder of one training: the same files for a process that trains alone and for many."""

import json
from dataclasses import dataclass
from pathlib import Path

from palm.artifacts import PROVENANCE_FILE
from palm.contract import TrainingRequest
from palm.evaluations import MadeFrom
from palm.exit_codes import ExitCode
from palm_store.prompts import Prompt
from palm_trainer.stopping import StopRequest


@dataclass(frozen=True)
class Trained:
    """What a training leaves besides its files."""

    finished: bool
    """False: it was interrupted, and its checkpoint is in S3."""
    steps: int
    seconds: float
    """Wall time of the training loop, of all its runs."""
    final_rewards: dict[str, float]


@dataclass(frozen=True)
class Failure:
    """Why a training process gave up."""

    code: ExitCode
    message: str


@dataclass(frozen=True)
class Workplace:
    """A folder and what lies where in it."""

    folder: Path

    @property
    def base(self) -> Path:
        """Return the folder of the base model."""
        return self.folder / "base"

    @property
    def reward_models(self) -> Path:
        """Return the folder of the reward models' folders."""
        return self.folder / "reward-models"

    @property
    def model(self) -> Path:
        """Return the folder that the policy is written to."""
        return self.folder / "model"

    @property
    def trainer(self) -> Path:
        """Return the folder of the trainer's own files."""
        return self.folder / "trainer"

    @property
    def restored(self) -> Path:
        """Return the folder that a checkpoint is downloaded to."""
        return self.folder / "restored"

    @property
    def stop(self) -> StopRequest:
        """Return where the end is asked for."""
        return StopRequest(self.folder / "stop")

    def put_inputs(self, made: MadeFrom) -> None:
        """Write from what the policy is made."""
        (self.folder / PROVENANCE_FILE).write_text(made.model_dump_json(by_alias=True))

    def inputs(self) -> MadeFrom | None:
        """Return from what the policy is made; None where nobody said."""
        path = self.folder / PROVENANCE_FILE
        return MadeFrom.model_validate_json(path.read_text()) if path.exists() else None

    def put_request(self, request: TrainingRequest, prompts: list[Prompt]) -> None:
        """Write what the processes of a launch are to do."""
        (self.folder / "request.json").write_text(request.model_dump_json(by_alias=True))
        lines = [[item.prompt, item.answer, item.place] for item in prompts]
        (self.folder / "prompts.json").write_text(json.dumps(lines))

    def request(self) -> tuple[TrainingRequest, list[Prompt]]:
        """Return what is to be done."""
        request = TrainingRequest.model_validate_json((self.folder / "request.json").read_text())
        lines = json.loads((self.folder / "prompts.json").read_text())
        return request, [Prompt(*line) for line in lines]

    def put_begun(self) -> None:
        """Note that the processes of a launch have met."""
        (self.folder / "begun").touch()

    @property
    def has_begun(self) -> bool:
        """Say whether the processes of a launch have met: before, none can obey a request."""
        return (self.folder / "begun").exists()

    def put_outcome(self, trained: Trained) -> None:
        """Write what came of it."""
        (self.folder / "outcome.json").write_text(json.dumps(vars(trained)))

    def outcome(self) -> Trained | None:
        """Return what came of it; None where no process said."""
        path = self.folder / "outcome.json"
        return Trained(**json.loads(path.read_text())) if path.exists() else None

    def put_failure(self, failure: Failure) -> None:
        """Write why a process gave up; the first one knows best."""
        content = json.dumps({"code": int(failure.code), "message": failure.message})
        try:
            with (self.folder / "failure.json").open("x") as file:
                file.write(content)
        except FileExistsError:
            return

    def failure(self) -> Failure | None:
        """Return why the first process gave up; None where none said."""
        path = self.folder / "failure.json"
        if not path.exists():
            return None
        found = json.loads(path.read_text())
        return Failure(ExitCode(found["code"]), str(found["message"]))
