import numpy as np
import pytest

from kresp3d.datasets.synthetic.figure import Draw, Person, build
from kresp3d.datasets.synthetic.motions import MOTIONS, perform

PERSON = Person.draw(Draw(0, 0, 1))
PHASES = np.linspace(0, 1, 101)


def pose_of(action, phases=PHASES, draw=1):
    return MOTIONS[action][0](phases, PERSON, Draw(draw))


def hands(pose):
    parts = build(PERSON, pose)
    return parts[5].start, parts[12].start


@pytest.mark.parametrize("action", MOTIONS)
@pytest.mark.parametrize("draw", [1, 2])
def test_an_action_repeats_after_one_phase_and_has_no_jumps(action, draw):
    once, again = (build(PERSON, pose_of(action, phases, draw)) for phases in (PHASES, PHASES + 3))
    for a, b in zip(once, again, strict=True):
        np.testing.assert_allclose(a.end, b.end, atol=1e-6)
        assert np.isfinite(a.end).all()
        # A hundredth of a repeat moves no joint by more than a tenth of the body.
        assert np.linalg.norm(np.diff(a.end, axis=0), axis=-1).max() < 0.1


@pytest.mark.parametrize("action", MOTIONS)
def test_nothing_sinks_into_the_floor(action):
    for part in build(PERSON, pose_of(action)):
        assert min(part.start[:, 2].min(), part.end[:, 2].min()) > -0.03


def test_hands_meet_once_in_a_clap():
    left, right = hands(pose_of("clap"))
    gap = np.linalg.norm(left - right, axis=-1)
    assert gap.argmin() in (0, 100)
    assert gap.min() < 0.1 < 0.3 < gap.max()


def test_fists_go_forward_in_turn_when_boxing():
    left, right = hands(pose_of("box"))
    assert PHASES[left[:, 0].argmax()] == pytest.approx(0.25, abs=0.06)
    assert PHASES[right[:, 0].argmax()] == pytest.approx(0.75, abs=0.06)


def test_bending_lowers_the_head_below_the_standing_hips():
    head = build(PERSON, pose_of("bend"))[-1].end[:, 2]
    assert head.max() > 0.85
    assert head.min() < 0.65


def test_both_feet_leave_the_floor_in_a_jump_and_none_in_a_walk():
    for action, expected in (("jump", True), ("walk", False)):
        parts = build(PERSON, pose_of(action))
        lower = np.minimum(parts[2].end[:, 2], parts[9].end[:, 2])
        assert (lower.max() > 0.1) == expected


def test_legs_and_arms_spread_together_in_a_jumping_jack():
    pose = pose_of("jumping-jack")
    left, right = hands(pose)
    feet = [build(PERSON, pose)[i].end for i in (1, 8)]
    apart = feet[0][:, 1] - feet[1][:, 1]
    height = (left[:, 2] + right[:, 2]) / 2
    assert np.corrcoef(apart, height)[0, 1] > 0.9
    assert apart.max() > 2 * apart.min()


def test_side_steps_go_out_and_back_and_the_others_stay():
    shift = pose_of("side-step").shift
    assert shift.max() - shift.min() > 0.3
    assert shift[0] == pytest.approx(shift[-1], abs=1e-6)
    assert not pose_of("jumping-jack").shift.any()


def test_a_runner_is_faster_than_a_jogger_than_a_walker():
    for draw in range(10):
        walk, jog, run = (pose_of(action, draw=draw) for action in ("walk", "jog", "run"))
        assert walk.speed < jog.speed < run.speed
        assert np.ptp(run.hip[:, 0]) > np.ptp(jog.hip[:, 0])
        assert run.knee.max() > jog.knee.max()


def test_perform_begins_at_another_phase_for_every_draw():
    times = np.arange(5) / 25
    first = [perform("wave", times, PERSON, Draw(key)).fore[0] for key in range(4)]
    assert all(np.abs(a - b).max() > 0.01 for i, a in enumerate(first) for b in first[:i])
