"""A training that is stopped anywhere and goes on is, bit by bit, one that was not stopped."""

import random
from pathlib import Path
from typing import Any

import pytest

from jobs import random_model, training_request, training_settings
from palm.artifacts import checkpoints, training_progress
from palm.contract import AdapterSettings, Execution, TrainingRequest
from palm.errors import InvalidResult, StoreUnavailable
from palm.training_progress import TrainingProgress
from palm_rewards import RewardScorer, reward_functions
from palm_store import InMemoryStore
from palm_store.job import InvalidData
from palm_store.prompts import Prompt, parsed_prompts
from palm_trainer.checkpoints import sha256_of_files
from palm_trainer.workplace import Trained, Workplace

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

STEPS = 7  # ten prompts, two per step: the training goes over them one and a half times
FULL, LORA = AdapterSettings(type="Full"), AdapterSettings(type="LoRA", rank=2)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def request_of(**changes: Any) -> TrainingRequest:
    settings = {"episodes": STEPS * 8, "max_completion_tokens": 4} | changes
    return training_request(
        settings=training_settings(**settings), execution=Execution(checkpoint_seconds=None)
    )


def place_in(folder: Path) -> Workplace:
    folder.mkdir(parents=True)
    (folder / "base").symlink_to(random_model() / "model")
    return Workplace(folder)


def prompts() -> list[Prompt]:
    return parsed_prompts((random_model() / "prompts.jsonl").read_bytes(), None)


class Stopping:
    """A reward that asks for the end once it has been called for so many steps."""

    def __init__(self, place: Workplace, scorer: RewardScorer, after: int) -> None:
        self.place, self.scorer, self.left = place, scorer, after

    def __call__(self, responses: Any) -> list[float]:
        self.left -= 1
        if self.left == 0:
            self.place.stop.make()
        return self.scorer.scores(responses)


def run(
    request: TrainingRequest,
    folder: Path,
    store: InMemoryStore,
    *,
    stop_after: int = 0,
    given: list[Prompt] | None = None,
) -> tuple[Trained, Workplace]:
    from palm_trainer.training import present_hardware, train

    place = place_in(folder)
    scorers = reward_functions(request.rewards, model_folder=lambda reward: folder)
    # Length, so that an untrained model has something to learn.
    scorers[0] = RewardScorer(scorers[0].name, lambda r: [float(n % 3) for n in r.token_counts])
    if stop_after:
        stopping = Stopping(place, scorers[0], stop_after)
        scorers[0] = RewardScorer(scorers[0].name, stopping)
    trained = train(
        request,
        place,
        prompts=given or prompts(),
        scorers=scorers,
        store=store,
        hardware=present_hardware(),
    )
    return trained, place


def weights(place: Workplace) -> dict[str, str]:
    found = sha256_of_files(place.model)
    return {name: digest for name, digest in found.items() if name.endswith(".safetensors")}


@pytest.mark.parametrize(("algorithm", "adapter"), [("GRPO", FULL), ("GRPO", LORA), ("RLOO", FULL)])
def test_stopped_at_any_steps_and_gone_on_is_bit_identical(
    tmp_path: Path, algorithm: str, adapter: AdapterSettings
) -> None:
    request = request_of(algorithm=algorithm, adapter=adapter, learning_rate_schedule="Linear")
    whole, place = run(request, tmp_path / "whole", InMemoryStore())
    expected = weights(place)
    assert whole.finished
    assert expected

    store, taken = InMemoryStore(), 0
    source = random.Random()  # any steps will do: what fails once must be looked at
    stops = sorted(source.sample(range(1, STEPS), 2))
    for number, stop in enumerate(stops):
        part, _ = run(request, tmp_path / f"{number}", store, stop_after=stop - taken)
        assert (part.finished, part.steps) == (False, stop)
        taken = stop
    last, place = run(request, tmp_path / "last", store)
    assert (last.finished, last.steps) == (True, STEPS)
    assert weights(place) == expected, f"stopped at {stops}"
    assert last.seconds > part.seconds


def test_a_stopped_training_leaves_its_checkpoint_and_its_progress(tmp_path: Path) -> None:
    request, store = request_of(), InMemoryStore()
    run(request, tmp_path / "one", store, stop_after=3)
    names = {name.split("/")[0] for name in store.list(checkpoints(request.policy_digest))}
    assert {name.split("-")[0] for name in names} == {"00000003", "progress.json"}
    told = TrainingProgress.model_validate_json(
        store.objects[training_progress(request.policy_digest)]
    )
    assert (told.steps, set(told.rewards)) == (STEPS, {"brevity", "helpfulness"})


def test_a_training_goes_on_when_its_checkpoints_cannot_be_written(tmp_path: Path) -> None:
    class Broken(InMemoryStore):
        def upload_folder(self, source: Path, folder: str) -> dict[str, int]:
            raise StoreUnavailable("S3 answered SlowDown (HTTP 503)")

    request = request_of(episodes=24).model_copy(
        update={"execution": Execution(checkpoint_seconds=0)}
    )
    trained, place = run(request, tmp_path / "one", Broken())
    assert trained.finished
    assert weights(place)


def test_an_end_without_a_checkpoint_is_an_error(tmp_path: Path) -> None:
    class Broken(InMemoryStore):
        def upload_folder(self, source: Path, folder: str) -> dict[str, int]:
            raise StoreUnavailable("S3 answered SlowDown (HTTP 503)")

    with pytest.raises(StoreUnavailable, match="SlowDown"):
        run(request_of(), tmp_path / "one", Broken(), stop_after=2)


def test_a_gradient_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    with pytest.raises(InvalidResult, match=r"the gradient of step \d+ is (nan|inf)"):
        run(request_of(learning_rate=1.0, kl_coefficient=1e30), tmp_path / "one", InMemoryStore())


def test_fewer_prompts_than_a_step_needs_come_again(tmp_path: Path) -> None:
    trained, _ = run(
        request_of(episodes=16), tmp_path / "one", InMemoryStore(), given=prompts()[:1]
    )
    assert (trained.finished, trained.steps) == (True, 2)


def test_a_prompt_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    given = [Prompt("What is 1 + 2? " * 50, "3", "line 1")]
    with pytest.raises(InvalidData, match=r"toy/prompts.jsonl: line 1 has \d+ tokens"):
        run(request_of(), tmp_path / "one", InMemoryStore(), given=given)
