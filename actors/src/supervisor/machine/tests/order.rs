//! Who is stopped and started before whom: rest-for-one and shutdown.

use super::*;

#[test]
fn rest_for_one_takes_the_later_ones_down_in_reverse_and_up_in_order() {
    let mut rig = mk_running(Strategy::RestForOne, &[mk_policy(), mk_policy(), mk_policy(), mk_policy()]);
    assert_eq!(stops(&rig.exited(2, mk_failure())), [4]);
    assert_eq!(rig.states(), [State::Running, State::BackingOff, State::Stopping, State::Stopping]);
    assert_eq!(stops(&rig.exited(4, ChildExit::Finished)), [3]);
    assert_eq!(starts(&rig.due(2)), [0_u64; 0], "not while a later one is still on its way down");
    assert_eq!(starts(&rig.exited(3, ChildExit::Finished)), [2]);
    assert_eq!(rig.states(), [State::Running, State::Starting, State::Waiting, State::Waiting]);
    assert_eq!(starts(&rig.started(2)), [3]);
    assert_eq!(starts(&rig.started(3)), [4]);
    rig.started(4);
    assert_eq!(rig.states(), [State::Running; 4]);
}

#[test]
fn under_rest_for_one_a_pause_keeps_the_later_ones_waiting() {
    let mut rig = mk_running(Strategy::RestForOne, &[mk_policy(), mk_policy()]);
    assert_eq!(stops(&rig.ask(1, Order::Pause)), [2], "the later one first");
    assert_eq!(stops(&rig.exited(2, ChildExit::Finished)), [1]);
    rig.exited(1, ChildExit::Finished);
    assert_eq!(rig.states(), [State::Paused, State::Waiting]);
    assert_eq!(starts(&rig.ask(1, Order::Resume)), [1]);
    assert_eq!(starts(&rig.started(1)), [2]);
}

#[test]
fn under_rest_for_one_a_child_that_is_done_for_good_holds_nobody_back() {
    let temporary = Policy { restart: Restart::Temporary, ..mk_policy() };
    let mut rig = mk_running(Strategy::RestForOne, &[temporary, mk_policy()]);
    assert_eq!(stops(&rig.exited(1, mk_failure())), [0_u64; 0]);
    rig.exited(2, mk_failure());
    assert_eq!(starts(&rig.due(2)), [2]);
}

#[test]
fn under_rest_for_one_a_backing_off_child_waits_for_an_earlier_one_that_fails_too() {
    let mut rig = mk_running(Strategy::RestForOne, &[mk_policy(), mk_policy()]);
    rig.exited(2, mk_failure());
    let generation = rig.generation(2);
    rig.exited(1, mk_failure());
    assert_eq!(rig.states(), [State::BackingOff, State::Waiting]);
    assert_eq!(rig.step(Event::Due { id: 2, generation }), []);
    assert_eq!(starts(&rig.due(1)), [1]);
    assert_eq!(starts(&rig.started(1)), [2]);
}

#[test]
fn a_shutdown_stops_one_after_the_other_in_reverse() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy(), mk_policy(), mk_policy(), mk_policy()]);
    rig.exited(2, mk_failure());
    rig.ask(3, Order::Pause);
    rig.exited(3, ChildExit::Finished);
    let generation = rig.generation(2);
    assert_eq!(stops(&rig.step(Event::Shutdown)), [4]);
    assert_eq!(rig.step(Event::Due { id: 2, generation }), [], "nothing is started any more");
    assert_eq!(rig.step(Event::Shutdown), [], "once is enough");
    assert_eq!(rig.ask(1, Order::Restart), [], "too late");
    assert_eq!(rig.add(9, mk_policy()), [], "too late");
    assert_eq!(stops(&rig.exited(4, ChildExit::Killed)), [1]);
    assert_eq!(rig.exited(1, ChildExit::Finished).last(), Some(&Action::End(End::Stopped)));
    assert_eq!(rig.states(), [State::Stopped, State::Stopped, State::Paused, State::Stopped]);
}

#[test]
fn a_shutdown_waits_for_a_removal_that_is_under_way() {
    let mut rig = mk_running(Strategy::OneForOne, &[mk_policy()]);
    rig.ask(1, Order::Remove);
    assert_eq!(rig.step(Event::Shutdown), []);
    let actions = rig.exited(1, ChildExit::Finished);
    assert_eq!(actions[1..], [Action::Forget { id: 1 }, Action::End(End::Stopped)]);
}

#[test]
fn a_shutdown_without_children_ends_at_once() {
    let mut rig = mk_rig(Strategy::OneForOne);
    assert_eq!(rig.step(Event::Shutdown), [Action::End(End::Stopped)]);
}
