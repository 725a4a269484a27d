"""The zone's maintenance flag on the host: it ends by the clock alone, unless going back has begun."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.maps import maps_of
from zone_canister.maintenance import BEING_UPGRADED, LONGEST, NOT_UNDER_MAINTENANCE, Maintenance

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
            assert flag.begin(now) == until
        elif act == "hold":
            assert flag.hold(now) == (NOT_UNDER_MAINTENANCE if until is None else "")
            until = None if until is None else 0
        elif act == "end":
            flag.end()
            until = None
        else:
            flag = Maintenance(settings)
        assert flag.until(now) == until
        assert flag.fault(now) == ("" if until is None else BEING_UPGRADED)
