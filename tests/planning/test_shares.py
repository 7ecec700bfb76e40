"""How many policies all Portfolios have together: nobody takes the room of another."""

import asyncio
from dataclasses import replace
from typing import Any

from builders import SETTINGS
from palm_operator.running.shares import Shares, deployed_size

TOTAL = 5


def portfolio(uid: str, size: int = 0, **spec: Any) -> dict[str, Any]:
    policies = [{"name": f"w{n}", "service": f"{uid}-w{n}"} for n in range(size)]
    return {
        "metadata": {"uid": uid, "namespace": "ml", "name": uid},
        "spec": spec,
        "status": {"portfolio": {"policies": policies}} if size else {},
    }


class Listing:
    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies, self.asked = list(bodies), 0

    async def portfolios(self, namespace: str | None) -> list[dict[str, Any]]:
        self.asked += 1
        await asyncio.sleep(0)
        return self.bodies


def limited(*bodies: dict[str, Any]) -> Shares:
    return Shares(Listing(*bodies), replace(SETTINGS, max_policies_in_all=TOTAL))


async def elsewhere(shares: Shares, uid: str) -> int:
    async with shares.turn(uid) as others:
        return others


async def taken(shares: Shares, uid: str, wanted: int) -> int:
    """A pass that plans as many as there is room for."""
    async with shares.turn(uid) as others:
        await asyncio.sleep(0)  # planning takes a while
        share = max(min(wanted, TOTAL - others), 0)
        shares.note(uid, share)
    return share


def test_passes_at_the_same_time_never_plan_more_than_there_may_be():
    shares = limited(*(portfolio(uid) for uid in "abcd"))

    async def all_at_once() -> list[int]:
        return await asyncio.gather(*(taken(shares, uid, 3) for uid in "abcd"))

    assert sorted(asyncio.run(all_at_once())) == [0, 0, 2, 3]


def test_what_is_deployed_counts_although_nothing_was_planned_here():
    shares = limited(portfolio("a", 3), portfolio("b", 1), portfolio("c"))
    assert asyncio.run(elsewhere(shares, "c")) == 4
    assert asyncio.run(elsewhere(shares, "a")) == 1


def test_a_portfolio_that_is_gone_leaves_its_room():
    listing = Listing(portfolio("a"), portfolio("b"))
    shares = Shares(listing, replace(SETTINGS, max_policies_in_all=TOTAL))
    shares.note("a", 4)
    assert asyncio.run(elsewhere(shares, "b")) == 4
    del listing.bodies[0]
    assert asyncio.run(elsewhere(shares, "b")) == 0


def test_portfolios_of_other_operators_do_not_count():
    shares = limited(portfolio("a", 3, operatorClass="team"), portfolio("b"))
    assert asyncio.run(elsewhere(shares, "b")) == 0


def test_without_a_ceiling_nobody_is_asked():
    listing = Listing(portfolio("a", 3))
    shares = Shares(listing, SETTINGS)
    assert asyncio.run(elsewhere(shares, "b")) == 0
    assert listing.asked == 0


def test_a_status_that_others_wrote_counts_at_most_what_a_portfolio_may_have():
    assert deployed_size(portfolio("a", 1000)) == 64
    for status in (None, [], {"portfolio": 7}, {"portfolio": {"policies": ["w0"]}}):
        assert deployed_size({"status": status}) == 0
