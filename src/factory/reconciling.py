"""What became of a deposit whose answer was lost: told by the readings before and after it, or decided by an admin.

Pure. Not for booking what was found (`deposit_log`). Readings are those of `history`, amounts in cycles.
"""

from factory.deposit_log import Deposit
from factory.history import UNIT, Point, in_units
from factory.policy import DAY
from factory.quota import SECOND

ARRIVED = "arrived"
LOST = "lost"
MOST_SPAN = 7 * DAY


def verdict(deposit: Deposit, points: list[Point], burn: int) -> tuple[str, str]:
    """ARRIVED or LOST, empty where the readings do not tell, and what they show; `burn` is cycles a day.

    The books count an unknown deposit as paid. Where it is missing, the balance seems to have burnt that much more than
    the child burns: it arrived where less than a quarter of it is missing, and did not where more than three quarters
    and less than five are.
    """
    begun, ended = deposit.begun_at // SECOND, -(-deposit.ended_at // SECOND)
    before = [point for point in points if point[0] <= begun]
    after = [point for point in points if point[0] >= ended]
    if not before or not after:
        return "", "there is no reading before it, or none after it"
    first, last = before[-1], after[0]
    span = last[0] - first[0]
    if span > MOST_SPAN:
        return "", f"the readings around it are {span} seconds apart"
    if last[2] - first[2] < in_units(deposit.attached):
        return "", "the reading before it counts it already"
    burnt = (first[1] - last[1] + last[2] - first[2]) * UNIT
    expected = burn * span // DAY
    missing = burnt - expected
    shown = f"{burnt} cycles went within {span} seconds, {expected} were to be expected, {deposit.attached} were sent"
    if missing * 4 < deposit.attached:
        return ARRIVED, shown
    return (LOST if 3 * deposit.attached < missing * 4 < 5 * deposit.attached else ""), shown
