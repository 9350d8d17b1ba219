"""Two launches at once: of the same study, and of two studies that want the same cells."""

import pytest
from faults.lab import Lab, Undisturbed
from faults.studies import ALONE, ablation, alone

pytestmark = [
    pytest.mark.faults,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.network,
    pytest.mark.timeout(600),
]


def test_the_same_study_is_launched_twice_at_once(lab: Lab, undisturbed: Undisturbed) -> None:
    """One of them runs; the other exits 3 and says who does."""
    both = [lab.start(alone(lab.folder)) for _ in range(2)]
    ends = dict(zip((command.pid for command in both), (c.finish() for c in both), strict=True))
    codes = {pid: code for pid, (code, _) in ends.items()}
    assert sorted(codes.values()) == [0, 3], ends
    (ran,) = (pid for pid, code in codes.items() if code == 0)
    (told,) = (output for code, output in ends.values() if code == 3)
    assert f"already running: pid {ran}" in told
    lab.assert_sound(undisturbed.lab)


def test_two_studies_want_the_same_cells(lab: Lab, undisturbed: Undisturbed) -> None:
    """Each cell is trained once, by whoever came first."""
    other = ablation(lab.folder, "other", ALONE, 0.5, 0.1)
    both = [lab.start(alone(lab.folder)), lab.start(other)]
    ends = [command.finish() for command in both]
    assert [code for code, _ in ends] == [0, 0], ends
    assert sum(output.count("finished") for _, output in ends) == 2, ends
    lab.assert_sound(undisturbed.lab)
