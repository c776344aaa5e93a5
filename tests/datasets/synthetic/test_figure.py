import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kresp3d.datasets.synthetic.figure import Draw, Person, Pose, build, reach, swing


def limbs(person, pose):
    return dict(zip(("thigh", "shin", "foot", "upper", "fore"), build(person, pose)[:5], strict=True))


def length(part):
    return np.linalg.norm(part.end - part.start, axis=-1)


@given(
    st.tuples(*[st.floats(-1.2, 1.2)] * 3).filter(lambda hand: np.linalg.norm(hand) > 0.1),
    st.sampled_from([(0, 0.5, -1), (-0.4, 1, 0), (-0.2, 0.6, -0.9)]),
)
def test_reach_brings_the_hand_to_its_place_with_arms_of_constant_length(hand, elbow):
    upper, fore = reach(np.array([hand]), elbow)
    np.testing.assert_allclose(np.linalg.norm(upper, axis=-1), 1)
    np.testing.assert_allclose(np.linalg.norm(fore, axis=-1), 1, atol=1e-6)
    distance = np.linalg.norm(hand)
    # A place farther than the arm is long is pointed at.
    expected = np.array(hand) * min(1, 0.995 / distance)
    np.testing.assert_allclose((upper + fore)[0] / 2, expected, atol=1e-6)


def test_swing_forward_and_bending_the_elbow_both_bring_the_hand_ahead():
    upper, fore = swing(np.array([0.0, 0.8]), np.array([0.9, 0.0]), outward=0.0)
    np.testing.assert_allclose(upper, [[0, 0, -1], [np.sin(0.8), 0, -np.cos(0.8)]], atol=1e-12)
    np.testing.assert_allclose(fore, [[np.sin(0.9), 0, -np.cos(0.9)], [np.sin(0.8), 0, -np.cos(0.8)]], atol=1e-12)


@pytest.mark.parametrize("subject", range(1, 9))
def test_a_standing_person_is_one_body_height_tall_and_on_the_floor(subject):
    person = Person.draw(Draw(0, 0, subject))
    pose = dataclasses.replace(Pose.standing(1, person), lean=np.zeros(1))
    parts = build(person, pose)
    top = max(max(p.start[0, 2] + p.radii[0], p.end[0, 2] + p.radii[1]) for p in parts)
    bottom = min(min(p.start[0, 2] - p.radii[0], p.end[0, 2] - p.radii[1]) for p in parts)
    assert top == pytest.approx(1.0, abs=0.05)
    assert bottom == pytest.approx(0.0, abs=0.03)


def test_limbs_keep_their_length_however_the_body_is_held():
    person = Person.draw(Draw(3, 0, 1))
    rng = np.random.default_rng(0)
    pose = Pose.standing(50, person)
    pose.lean, pose.side, pose.twist = rng.uniform(-1, 1, (3, 50))
    pose.hip, pose.knee, pose.spread = rng.uniform(0, 1, (3, 50, 2))
    parts = limbs(person, pose)
    np.testing.assert_allclose(length(parts["thigh"]), person.thigh)
    np.testing.assert_allclose(length(parts["shin"]), person.shin)
    np.testing.assert_allclose(length(parts["upper"]), person.arm)


def test_leaning_moves_the_head_forward_and_a_hop_lifts_the_whole_body():
    person = Person.draw(Draw(0, 0, 1))
    upright, moved = Pose.standing(1, person), Pose.standing(1, person)
    moved.lean = moved.lean + 1.0
    assert build(person, moved)[-1].end[0, 0] > build(person, upright)[-1].end[0, 0] + 0.2
    moved = Pose.standing(1, person)
    moved.hop = moved.hop + 0.25
    for before, after in zip(build(person, upright), build(person, moved), strict=True):
        np.testing.assert_allclose(after.start - before.start, [[0, 0, 0.25]], atol=1e-12)


def test_planted_feet_stay_in_place_when_the_hips_move():
    person = Person.draw(Draw(0, 0, 1))
    pose = Pose.standing(20, person)
    pose.hip = pose.hip + np.linspace(-0.3, 0.6, 20)[:, None]
    parts = build(person, pose)
    ankles = np.stack([parts[1].end[:, 0], parts[8].end[:, 0]])
    np.testing.assert_allclose(ankles.mean(axis=0), 0, atol=1e-12)
