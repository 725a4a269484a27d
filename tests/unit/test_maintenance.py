"""The zone's maintenance flag on the host: it ends by the clock alone, unless going back has begun."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.maps import maps_of
from zone_canister.maintenance import ANOTHERS, BEING_UPGRADED, LONGEST, NOT_UNDER_MAINTENANCE, Maintenance

ONE, OTHER = b"one", b"other"
acts = st.lists(st.tuples(st.sampled_from(["begin", "hold", "end", "restart"]), st.integers(0, LONGEST)), max_size=30)


@given(acts)
def test_the_flag_ends_by_itself_unless_going_back_has_begun(sequence):
    settings = maps_of("zone_canister").settings_map
    flag = Maintenance(settings)
    now, until = 1, None
    for act, pause in sequence:
        now += pause
        if until and now >= until:
            until = None
        if act == "begin":
            until = 0 if until == 0 else now + LONGEST
            assert flag.begin(ONE, [ONE], now) == ""
        elif act == "hold":
            assert flag.hold(ONE, [ONE], now) == (NOT_UNDER_MAINTENANCE if until is None else "")
            until = None if until is None else 0
        elif act == "end":
            assert flag.end(ONE, [ONE], now) == ""
            until = None
        else:
            flag = Maintenance(settings)
        assert flag.until(now) == until
        assert flag.fault(now) == ("" if until is None else BEING_UPGRADED)


def test_what_one_controller_has_set_no_other_one_takes_away_or_sets_again():
    settings = maps_of("zone_canister").settings_map
    both = [ONE, OTHER]
    flag = Maintenance(settings)
    assert flag.begin(ONE, both, 1) == ""
    for held in (False, True):
        flag = Maintenance(settings)
        assert (flag.begin(OTHER, both, 2), flag.hold(OTHER, both, 2), flag.end(OTHER, both, 2)) == (ANOTHERS,) * 3
        assert flag.until(3) == (0 if held else 1 + LONGEST)
        assert flag.hold(ONE, both, 3) == ""
    assert flag.begin(ONE, both, 4) == ""
    assert flag.until(5 * LONGEST) == 0
    assert flag.end(ONE, both, 5 * LONGEST) == ""
    assert flag.until(5 * LONGEST) is None
    assert flag.begin(OTHER, both, 6) == ""
    assert flag.begin(ONE, both, 6 + LONGEST) == ""
    assert flag.hold(ONE, both, 7 + LONGEST) == ""
    # Who is no controller any more cannot go back, either.
    assert flag.end(OTHER, [OTHER], 8 + LONGEST) == ""
    assert flag.until(9 + LONGEST) is None
