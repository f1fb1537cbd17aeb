"""The tables themselves: nothing dead, nothing missing that a peer or a clock can cause."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telephony.sip.errors import LocalProtocolError
from telephony.sip.transaction import (
    INITIAL,
    TABLES,
    TIMERS_OF,
    Input,
    Kind,
    Machine,
    State,
    Timer,
    Timers,
)

FROM_OUTSIDE = {
    Kind.CLIENT_INVITE: {
        Input.RECEIVED_1XX,
        Input.RECEIVED_2XX,
        Input.RECEIVED_FAILURE,
        Input.TRANSPORT_ERROR,
        Input.CANCEL,
    },
    Kind.CLIENT: {Input.RECEIVED_1XX, Input.RECEIVED_2XX, Input.RECEIVED_FAILURE, Input.TRANSPORT_ERROR},
    Kind.SERVER_INVITE: {Input.RECEIVED_REQUEST, Input.RECEIVED_ACK, Input.RECEIVED_CANCEL, Input.TRANSPORT_ERROR},
    Kind.SERVER: {Input.RECEIVED_REQUEST, Input.TRANSPORT_ERROR},
}


def states_of(kind: Kind) -> set[State]:
    return {state for state, _ in TABLES[kind]}


@pytest.mark.parametrize("kind", Kind)
def test_whatever_comes_from_outside_has_a_cell_in_every_state(kind: Kind) -> None:
    missing = {(state, cause) for state in states_of(kind) for cause in FROM_OUTSIDE[kind]} - TABLES[kind].keys()
    assert not missing


@pytest.mark.parametrize("kind", Kind)
def test_every_timer_of_a_state_has_a_cell_and_no_other_timer_has(kind: Kind) -> None:
    in_table = {(state, cause) for state, cause in TABLES[kind] if isinstance(cause, Timer)}
    armed = {(state, timer) for (owner, state), timers in TIMERS_OF.items() if owner is kind for timer in timers}
    assert in_table == armed


@pytest.mark.parametrize("kind", Kind)
def test_every_state_is_reached_and_every_one_can_end(kind: Kind) -> None:
    table = TABLES[kind]
    reached, edge = {INITIAL[kind]}, [INITIAL[kind]]
    while edge:
        state = edge.pop()
        new = {after.state for (before, _), after in table.items() if before is state} - reached
        reached |= new
        edge += new
    assert reached == states_of(kind) | {State.TERMINATED}
    for state in states_of(kind):
        leads_on = {after.state for (before, _), after in table.items() if before is state and after.state is not state}
        assert leads_on, f"{kind} cannot leave {state}"


@given(kind=st.sampled_from(Kind), reliable=st.booleans(), data=st.data())
def test_any_walk_ends_by_its_timers_alone_once_a_final_response_is_there(
    kind: Kind, reliable: bool, data: st.DataObject
) -> None:
    machine = Machine(kind, timers=Timers(), reliable=reliable)
    armed = dict(machine.start(0.0))
    for _ in range(data.draw(st.integers(0, 12))):
        choices = sorted(
            {cause for state, cause in TABLES[kind] if state is machine.state and isinstance(cause, Input)}
        )
        if not choices:
            break
        _, more = machine.step(data.draw(st.sampled_from(choices)), 0.0)
        armed.update(more)
    now, fired = 0.0, 0
    waits_for_user = machine.state is State.PROCEEDING and kind in (Kind.CLIENT_INVITE, Kind.SERVER_INVITE)
    while machine.state is not State.TERMINATED and not waits_for_user:
        due = sorted((at, timer) for timer, at in armed.items() if machine.is_due(timer, at))
        now, timer = due[0]
        _, more = machine.fire(timer, now)
        armed.update(more)
        fired += 1
        assert fired < 40
    assert now <= 2 * 32.0 + 5.0


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (Kind.CLIENT, Input.CANCEL),
        (Kind.CLIENT_INVITE, Input.SEND_2XX),
        (Kind.SERVER, Input.RECEIVED_1XX),
        (Kind.SERVER_INVITE, Input.CANCEL),
    ],
)
def test_a_pair_that_is_not_in_the_table_is_our_own_error(kind: Kind, cause: Input) -> None:
    machine = Machine(kind, timers=Timers(), reliable=False)
    with pytest.raises(LocalProtocolError):
        machine.step(cause, 0.0)


def test_a_second_final_response_is_our_own_error() -> None:
    machine = Machine(Kind.SERVER_INVITE, timers=Timers(), reliable=False)
    machine.step(Input.SEND_2XX, 0.0)
    with pytest.raises(LocalProtocolError):
        machine.step(Input.SEND_FAILURE, 0.0)
    assert machine.state is State.ACCEPTED
